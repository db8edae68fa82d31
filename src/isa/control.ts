import type { Builder } from './builder.ts';
import { RCX } from './builder.ts';
import { type Form, form, type Semantics } from './form.ts';
import { forEachCondition } from './moves.ts';

const ENDS = { ends: true } as const;

const jumpIf =
  (condition: number): Semantics =>
  (op) =>
    op.jumpRelativeIf(op.flags.test(condition));

const callIndirect: Semantics = (op, target) => {
  const address = op.let(target.read());
  op.checkTarget(address);
  op.push(op.bits, op.nextInstruction());
  op.jumpTo(address);
};

const jumpIndirect: Semantics = (op, target) => {
  const address = op.let(target.read());
  op.checkTarget(address);
  op.jumpTo(address);
};

const returnNear: Semantics = (op) => {
  const top = op.pop(op.bits);
  op.checkTarget(top.value);
  top.commit();
  op.jumpTo(top.value);
};

const returnNearAndRelease: Semantics = (op, bytes) => {
  const top = op.pop(op.bits);
  op.checkTarget(top.value);
  top.commit();
  op.releaseStack(bytes.read());
  op.jumpTo(top.value);
};

/** LOOPcc and JCXZ count in CX or ECX by the address size (SDM vol. 2A "LOOP/LOOPcc"). */
const loop =
  (zero?: 0 | 1): Semantics =>
  (op) => {
    const counter = op.register(RCX, op.addressBits);
    const left = op.let(op.truncate(counter.read().sub(1), op.addressBits));
    counter.write(left);
    const again = left.eqz().eqz();
    op.jumpRelativeIf(zero === undefined ? again : again.and(zeroFlag(op).eq(zero)));
  };

const ZERO = 4;
const zeroFlag = (op: Builder) => op.flags.test(ZERO);

const jumpIfCounterZero: Semantics = (op) => op.jumpRelativeIf(op.register(RCX, op.addressBits).read().eqz());

// biome-ignore format: table
export const CONTROL: readonly Form[] = [
  ...forEachCondition('J', 0x70, (name, opcode, condition) => form(name, opcode, 'Jb', jumpIf(condition))),
  ...forEachCondition('J', 0x80, (name, opcode, condition) => form(name, `0F ${opcode}`, 'Jz', jumpIf(condition))),
  form('LOOPNE', 'E0',    'Jb', loop(0)),
  form('LOOPE',  'E1',    'Jb', loop(1)),
  form('LOOP',   'E2',    'Jb', loop()),
  form('JCXZ',   'E3',    'Jb', jumpIfCounterZero),
  form('CALL',   'E8',    'Jz', (op) => op.callRelative(), ENDS),
  form('JMP',    'E9',    'Jz', (op) => op.jumpRelative(), ENDS),
  form('JMP',    'EB',    'Jb', (op) => op.jumpRelative(), ENDS),
  form('CALL',   'FF /2', 'Ev', callIndirect, ENDS),
  form('JMP',    'FF /4', 'Ev', jumpIndirect, ENDS),
  form('RET',    'C3',    '',   returnNear, ENDS),
  form('RET',    'C2',    'Iw', returnNearAndRelease, ENDS),
];
