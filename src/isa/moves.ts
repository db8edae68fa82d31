import type { Int } from '../wasm/expression.ts';
import type { Bits } from './builder.ts';
import { RAX, RBX, RDX } from './builder.ts';
import { type Form, form, type Semantics } from './form.ts';

const move: Semantics = (_op, to, from) => to.write(from.read());

const exchange: Semantics = (op, left, right) => {
  const x = op.let(left.modify());
  const y = op.let(right.modify());
  left.write(y);
  right.write(x);
};

/** Brings a value of one width to the type of another. */
const resize = (value: Int, from: Bits, to: Bits, signed: boolean): Int => {
  const extended = signed ? value.signExtend(from) : value;
  if (to !== 64) return extended;
  return signed ? extended.toI64Signed() : extended.toI64Unsigned();
};

const moveExtended =
  (signed: boolean): Semantics =>
  (_op, to, from) =>
    to.write(resize(from.read(), from.bits, to.bits, signed));

const loadAddress: Semantics = (op, to) => {
  const address = op.effectiveAddress();
  to.write(to.bits === 64 ? address.toI64Unsigned() : address.toI32());
};

/** The load happens whether the condition holds or not (SDM vol. 2A "CMOVcc"). */
const moveIf =
  (condition: number): Semantics =>
  (op, to, from) => {
    const value = op.let(from.read());
    op.if(op.flags.test(condition), () => to.write(value));
  };

const setIf =
  (condition: number): Semantics =>
  (op, to) =>
    to.write(op.flags.test(condition));

const pushOperand: Semantics = (op, from) =>
  op.push(op.bits, resize(from.read(), from.bits, op.bits, from.bits === 8));

const popRegister: Semantics = (op, to) => {
  const top = op.pop(op.bits);
  top.commit();
  to.write(top.value);
};

/** AX <- AL, EAX <- AX (CBW, CWDE) */
const extendAccumulator: Semantics = (op) => {
  const half = (op.bits / 2) as Bits;
  op.register(RAX, op.bits).write(resize(op.register(RAX, half).read(), half, op.bits, true));
};

/** DX:AX <- AX, EDX:EAX <- EAX (CWD, CDQ) */
const extendIntoData: Semantics = (op) => {
  const value = op.register(RAX, op.bits).read();
  op.register(RDX, op.bits).write(value.signExtend(op.bits).shrS(op.bits === 64 ? 63 : 31));
};

/** Only these flags travel through AH (SDM vol. 2A "LAHF"). */
const SAHF_FLAGS = 0xd5;
const OF_BIT = 0x800;

const loadFlags: Semantics = (op) => op.highByte(RAX).write(op.flags.read().and(SAHF_FLAGS).or(2));
const storeFlags: Semantics = (op) =>
  op.flags.write(op.let(op.highByte(RAX).read().and(SAHF_FLAGS).or(op.flags.read().and(OF_BIT))));

const translate: Semantics = (op) => {
  const al = op.register(RAX, 8);
  al.write(op.tableByte(RBX, al.read()));
};

const leave: Semantics = (op) => op.leaveFrame();

/** Conditions in encoding order, with the names the SDM prefers. */
const CONDITIONS = [
  'O',
  'NO',
  'B',
  'NB',
  'Z',
  'NZ',
  'BE',
  'NBE',
  'S',
  'NS',
  'P',
  'NP',
  'L',
  'NL',
  'LE',
  'NLE',
];

const hex = (value: number): string => value.toString(16).toUpperCase();

/** One form for each condition; `encoding` gets the opcode. */
export function forEachCondition(
  prefix: string,
  opcode: number,
  make: (name: string, opcode: string, condition: number) => Form,
): Form[] {
  return CONDITIONS.map((name, condition) => make(`${prefix}${name}`, hex(opcode + condition), condition));
}

// biome-ignore format: table
export const MOVES: readonly Form[] = [
  form('MOV',   '88 /r',    'Eb,Gb', move),
  form('MOV',   '89 /r',    'Ev,Gv', move),
  form('MOV',   '8A /r',    'Gb,Eb', move),
  form('MOV',   '8B /r',    'Gv,Ev', move),
  form('MOV',   'A0',       'AL,Ob', move),
  form('MOV',   'A1',       'eAX,Ov', move),
  form('MOV',   'A2',       'Ob,AL', move),
  form('MOV',   'A3',       'Ov,eAX', move),
  form('MOV',   'B0+r',     'Zb,Ib', move),
  form('MOV',   'B8+r',     'Zv,Iv', move),
  form('MOV',   'C6 /0',    'Eb,Ib', move),
  form('MOV',   'C7 /0',    'Ev,Iz', move),
  form('MOVZX', '0F B6 /r', 'Gv,Eb', moveExtended(false)),
  form('MOVZX', '0F B7 /r', 'Gv,Ew', moveExtended(false)),
  form('MOVSX', '0F BE /r', 'Gv,Eb', moveExtended(true)),
  form('MOVSX', '0F BF /r', 'Gv,Ew', moveExtended(true)),
  form('XCHG',  '86 /r',    'Eb,Gb', exchange, { lock: true }),
  form('XCHG',  '87 /r',    'Ev,Gv', exchange, { lock: true }),
  form('NOP',   '90',       '',      () => {}),
  form('XCHG',  '90+r',     'eAX,Zv', exchange),
  form('LEA',   '8D /r',    'Gv,Mx', loadAddress),
  form('XLAT',  'D7',       '',      translate),
  form('CBW',   '98',       '',      extendAccumulator),
  form('CWD',   '99',       '',      extendIntoData),
  form('LAHF',  '9F',       '',      loadFlags),
  form('SAHF',  '9E',       '',      storeFlags),
  form('CMC',   'F5',       '',      (op) => op.flags.setCarry(op.flags.carry().xor(1))),
  form('CLC',   'F8',       '',      (op) => op.flags.setCarry(op.constant(32, 0))),
  form('STC',   'F9',       '',      (op) => op.flags.setCarry(op.constant(32, 1))),
  form('PUSH',  '50+r',     'Zv',    pushOperand),
  form('PUSH',  '68',       'Iz',    pushOperand),
  form('PUSH',  '6A',       'sIb',   pushOperand),
  form('PUSH',  'FF /6',    'Ev',    pushOperand),
  form('POP',   '58+r',     'Zv',    popRegister),
  form('LEAVE', 'C9',       '',      leave),
  form('NOP',   '0F 1F /0', 'Ev',    () => {}),
  ...[0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e].map((opcode) => form('NOP', `0F ${hex(opcode)} /r`, 'Ev,Gv', () => {}, { feature: 'cmov' })),
  ...forEachCondition('CMOV', 0x40, (name, opcode, condition) => form(name, `0F ${opcode} /r`, 'Gv,Ev', moveIf(condition), { feature: 'cmov' })),
  ...forEachCondition('SET',  0x90, (name, opcode, condition) => form(name, `0F ${opcode} /r`, 'Eb', setIf(condition))),
];
