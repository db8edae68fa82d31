import { AGENT_LAYOUT, RECORD, RECORD_SIZE } from '../agent-layout.ts';
import {
  type Assembler,
  address,
  ax,
  eax,
  ebp,
  ebx,
  ecx,
  edi,
  edx,
  esi,
  mem16,
  mem32,
} from '../assembler.ts';
import {
  ALTERNATIVE_HEADER_SIZE,
  BLOCK,
  COMPARED_SHIFT,
  FIELD_COUNT,
  MASKED_SHIFT,
  STEP,
  STEP_HEADER_SIZE,
  TABLE,
  TABLE_SIZE,
} from './format.ts';

/** A mismatch: the step's expectation, its number, and its records in the log, from where to where. */
export const MISMATCH = { STEP: 0, NUMBER: 4, SEEN: 8, SEEN_END: 12 } as const;
export const MISMATCH_SIZE = 16;
/** Mismatches of a scenario that can be shown. */
export const MOST_MISMATCHES = 512;

/**
 * Emits `judge`: compares the agents' log with the expectations in the unpacked block. Before, `log-end` and
 * `exit-code` have what the agents left. Afterwards `mismatches` is the number of steps that were otherwise than any
 * alternative, `mismatch-list` has the first of them (MISMATCH), and `last-step` is the last step with a record. All
 * registers are lost.
 */
export function emitJudge(a: Assembler): void {
  emitTableChoice(a);
  emitSteps(a);
  emitMatch(a);
  a.align(4);
  for (const word of ['log-end', 'exit-code', 'mismatches', 'seen-count', 'last-step']) {
    a.label(word);
    a.data32(0);
  }
  a.label('mismatch-list');
  a.zero(MOST_MISMATCHES * MISMATCH_SIZE);
}

/** Sets ESI to the first step of the table that is for this processor. */
function emitTableChoice(a: Assembler): void {
  a.label('choose-table');
  a.mov(esi, mem32(address('unpacked', BLOCK.TABLES * 4)));
  a.add(esi, address('unpacked'));
  a.mov(edx, mem32(address('pdptes')));
  a.mov(ecx, mem32(address('address-bits')));
  a.label('choose-look');
  a.test(mem32(esi, TABLE.PDPTES * 4), edx);
  a.jz('choose-next');
  a.cmp(mem32(esi, TABLE.MAX_BITS * 4), ecx);
  a.jae('choose-done');
  a.label('choose-next');
  a.add(esi, TABLE_SIZE);
  a.jmp('choose-look');
  a.label('choose-done');
  a.mov(esi, mem32(esi, TABLE.STEPS * 4));
  a.add(esi, address('unpacked'));
  a.ret();
}

/** ESI: the step's expectation; EBX: its number; EBP to EDI: its records in the log. */
function emitSteps(a: Assembler): void {
  a.label('judge');
  a.call('choose-table');
  a.xor(ebx, ebx);
  a.mov(mem32(address('mismatches')), ebx);
  a.mov(mem32(address('last-step')), ebx);
  a.mov(ebp, AGENT_LAYOUT.LOG);
  // What comes before the first step belongs to number 0 and is not judged.
  a.call('find-records');
  a.mov(ebp, edi);
  a.label('judge-step');
  a.inc(ebx);
  a.cmp(ebx, mem32(address('unpacked', BLOCK.STEPS * 4)));
  a.ja('judge-done');
  a.cmp(ebp, mem32(address('log-end')));
  a.jb('judge-records');
  // Steps that an agent did not come to say nothing.
  a.cmp(mem32(address('exit-code')), 0);
  a.jnz('judge-done');
  a.label('judge-records');
  a.call('find-records');
  a.mov(eax, edi);
  a.sub(eax, ebp);
  a.jz('judge-counted');
  a.mov(mem32(address('last-step')), ebx);
  a.label('judge-counted');
  a.shr(eax, Math.log2(RECORD_SIZE));
  a.mov(mem32(address('seen-count')), eax);
  a.mov(ecx, mem32(esi, STEP.ALTERNATIVES * 4));
  a.lea(edx, mem32(esi, STEP_HEADER_SIZE));
  a.label('judge-alternative');
  a.test(ecx, ecx);
  a.jz('judge-mismatch');
  a.call('match');
  a.jz('judge-next');
  a.movzx(eax, mem16(edx, 2));
  a.add(edx, eax);
  a.dec(ecx);
  a.jmp('judge-alternative');

  a.label('judge-mismatch');
  a.mov(eax, mem32(address('mismatches')));
  a.inc(mem32(address('mismatches')));
  a.cmp(eax, MOST_MISMATCHES);
  a.jae('judge-next');
  a.shl(eax, Math.log2(MISMATCH_SIZE));
  a.add(eax, address('mismatch-list'));
  a.mov(mem32(eax, MISMATCH.STEP), esi);
  a.mov(mem32(eax, MISMATCH.NUMBER), ebx);
  a.mov(mem32(eax, MISMATCH.SEEN), ebp);
  a.mov(mem32(eax, MISMATCH.SEEN_END), edi);
  a.label('judge-next');
  a.mov(ebp, edi);
  a.add(esi, mem32(esi, STEP.LENGTH * 4));
  a.jmp('judge-step');
  a.label('judge-done');
  a.ret();

  // EDI: the end of the records of step EBX that begin at EBP.
  a.label('find-records');
  a.mov(edi, ebp);
  a.label('find-next');
  a.cmp(edi, mem32(address('log-end')));
  a.jae('find-done');
  a.cmp(mem32(edi, RECORD.STEP * 4), ebx);
  a.jnz('find-done');
  a.add(edi, RECORD_SIZE);
  a.jmp('find-next');
  a.label('find-done');
  a.ret();
}

/** `match`: whether the records at EBP, `seen-count` of them, are the alternative at EDX: ZF. Keeps the registers. */
function emitMatch(a: Assembler): void {
  a.label('match');
  a.pushad();
  a.movzx(ecx, mem16(edx));
  a.cmp(ecx, mem32(address('seen-count')));
  a.jnz('match-end');
  a.lea(esi, mem32(edx, ALTERNATIVE_HEADER_SIZE));
  a.label('match-record');
  a.test(ecx, ecx);
  a.jz('match-end');
  a.lodsd();
  a.mov(ebx, eax);
  a.emit('Cmp', ax, mem16(ebp, RECORD.STATUS * 4));
  a.jnz('match-end');
  for (let field = 0; field < FIELD_COUNT; field++) {
    a.bt(ebx, COMPARED_SHIFT + field);
    a.jnc(`match-skip-${field}`);
    a.lodsd();
    a.xor(eax, mem32(ebp, (RECORD.A + field) * 4));
    a.mov(edx, eax);
    a.bt(ebx, MASKED_SHIFT + field);
    a.jnc(`match-whole-${field}`);
    a.lodsd();
    a.and(edx, eax);
    a.label(`match-whole-${field}`);
    a.test(edx, edx);
    a.jnz('match-end');
    a.label(`match-skip-${field}`);
  }
  a.add(ebp, RECORD_SIZE);
  a.dec(ecx);
  a.jmp('match-record');
  // POPAD leaves the flags alone.
  a.label('match-end');
  a.popad();
  a.ret();
}
