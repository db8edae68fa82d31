import { RECORD, RECORD_SIZE, RECORD_STATUS } from '../agent-layout.ts';
import { type Assembler, address, bl, eax, ebp, ebx, ecx, edi, esi, mem8, mem32 } from '../assembler.ts';
import { FIELD_COUNT, STEP } from './format.ts';
import { MISMATCH, MISMATCH_SIZE, MOST_MISMATCHES } from './judge.ts';
import { emitTexts, say, sayIndented } from './texts.ts';

/** Records of a step that the report shows at most. */
const MOST_RECORDS = 8;
/** Spaces before the lines about the first mismatch, and about others, which are items of a list. */
const FIRST_INDENT = 2;
const LATER_INDENT = 6;
const NEWLINE = 10;

// biome-ignore format: table
/** How a record is shown, by its status: the names of fields A to F. */
const SHOWN: readonly { status: number; fields: readonly string[] }[] = [
  { status: RECORD_STATUS.DONE,       fields: ['value', 'b', 'c', 'd'] },
  { status: RECORD_STATUS.FAULT,      fields: ['fault', 'error-code', 'cr2', 'eip', 'cs', 'eflags'] },
  { status: RECORD_STATUS.EXIT,       fields: ['exit', 'exitinfo1', 'exitinfo2', 'eip', 'exitintinfo', 'eflags'] },
  { status: RECORD_STATUS.UNEXPECTED, fields: ['unexpected-fault', 'error-code', 'cr2', 'eip', 'cs', 'eflags'] },
  { status: RECORD_STATUS.EXIT_HIGH,  fields: ['exitinfo1-high', 'exitinfo2-high'] },
];

const TEXTS = {
  'step-number': 'step: ',
  'seen-none': 'seen: []\n',
  seen: 'seen:\n',
  more: '  # and more\n',
  mismatches: '  mismatches: ',
  also: '  also:\n',
  item: '    -\n',
  record: '  - {level: ',
  'record-end': '}\n',
  'field-separator': ', ',
  hex: ': 0x',
};

/** Emits `report-mismatches`: the lines of YAML about what `judge` found. */
export function emitMismatchReport(a: Assembler): void {
  emitMismatches(a);
  emitMismatch(a);
  emitSeen(a);
  emitTexts(a, TEXTS);
  for (const { status, fields } of SHOWN) {
    a.align(4);
    a.label(`fields-${status}`);
    for (let index = 0; index < FIELD_COUNT; index++) {
      a.data32(index < fields.length ? address(`text:field-${status}-${index}`) : 0);
    }
    fields.forEach((name, index) => {
      emitTexts(a, { [`field-${status}-${index}`]: name });
    });
  }
}

/** The mismatches that are to be shown: the first one, and under `also` those after it. */
function emitMismatches(a: Assembler): void {
  a.label('report-mismatches');
  a.mov(ebx, mem32(address('mismatches')));
  a.mov(eax, mem32(address('option-show')));
  a.cmp(eax, MOST_MISMATCHES);
  a.jbe('mismatches-possible');
  a.mov(eax, MOST_MISMATCHES);
  a.label('mismatches-possible');
  a.cmp(eax, ebx);
  a.jbe('mismatches-there');
  a.mov(eax, ebx);
  a.label('mismatches-there');
  a.shl(eax, Math.log2(MISMATCH_SIZE));
  a.add(eax, address('mismatch-list'));
  a.mov(mem32(address('shown-end')), eax);
  a.mov(mem32(address('indent')), FIRST_INDENT);
  a.mov(ebp, address('mismatch-list'));
  a.call('report-mismatch');
  say(a, 'mismatches');
  a.mov(ebx, mem32(address('mismatches')));
  a.call('print-decimal');
  a.call('print-newline');
  a.add(ebp, MISMATCH_SIZE);
  a.cmp(ebp, mem32(address('shown-end')));
  a.jae('mismatches-done');
  say(a, 'also');
  a.mov(mem32(address('indent')), LATER_INDENT);
  a.label('mismatches-next');
  say(a, 'item');
  a.call('report-mismatch');
  a.add(ebp, MISMATCH_SIZE);
  a.cmp(ebp, mem32(address('shown-end')));
  a.jb('mismatches-next');
  a.label('mismatches-done');
  a.ret();
  a.align(4);
  for (const word of ['shown-end', 'indent']) {
    a.label(word);
    a.data32(0);
  }
}

/** `report-mismatch`: the one at EBP, which stays. */
function emitMismatch(a: Assembler): void {
  const text = (field: number): void => {
    a.mov(esi, mem32(ebp, MISMATCH.STEP));
    a.mov(esi, mem32(esi, field * 4));
    a.add(esi, address('unpacked'));
    a.call('print-lines');
  };
  a.label('report-mismatch');
  sayIndented(a, 'step-number');
  a.mov(ebx, mem32(ebp, MISMATCH.NUMBER));
  a.call('print-decimal');
  a.call('print-newline');
  text(STEP.STEP_TEXT);
  text(STEP.EXPECTED);
  a.call('report-seen');
  text(STEP.REGISTERS);
  a.ret();

  // The lines of the text at ESI, each behind `indent` spaces.
  a.label('print-lines');
  a.cmp(mem8(esi), 0);
  a.jz('print-lines-done');
  a.call('print-indent');
  a.label('print-lines-byte');
  a.mov(bl, mem8(esi));
  a.inc(esi);
  a.call('print-byte');
  a.cmp(mem8(esi), 0);
  a.jz('print-lines-done');
  a.cmp(bl, NEWLINE);
  a.jnz('print-lines-byte');
  a.jmp('print-lines');
  a.label('print-lines-done');
  a.ret();

  a.label('print-indent');
  a.push(ecx);
  a.mov(ecx, mem32(address('indent')));
  a.label('print-indent-space');
  a.mov(bl, 0x20);
  a.call('print-byte');
  a.dec(ecx);
  a.jnz('print-indent-space');
  a.pop(ecx);
  a.ret();
}

/** `report-seen`: the records of the mismatch at EBP, which stays. */
function emitSeen(a: Assembler): void {
  a.label('report-seen');
  a.mov(edi, mem32(ebp, MISMATCH.SEEN));
  a.mov(esi, address('text:seen-none'));
  a.cmp(edi, mem32(ebp, MISMATCH.SEEN_END));
  a.jz('print-lines');
  sayIndented(a, 'seen');
  a.mov(ecx, MOST_RECORDS);
  a.label('seen-record');
  sayIndented(a, 'record');
  a.mov(ebx, mem32(edi, RECORD.STATUS * 4));
  a.shr(ebx, 8);
  a.call('print-decimal');
  a.mov(eax, mem32(edi, RECORD.STATUS * 4));
  a.and(eax, 0xff);
  a.push(ebp);
  for (const { status } of SHOWN) {
    a.mov(ebp, address(`fields-${status}`));
    a.cmp(eax, status);
    a.jz('seen-fields');
  }
  a.label('seen-fields');
  for (let field = 0; field < FIELD_COUNT; field++) {
    a.cmp(mem32(ebp, field * 4), 0);
    a.jz('seen-end');
    say(a, 'field-separator');
    a.mov(esi, mem32(ebp, field * 4));
    a.call('print-text');
    say(a, 'hex');
    a.mov(ebx, mem32(edi, (RECORD.A + field) * 4));
    a.call('print-hex');
  }
  a.label('seen-end');
  a.pop(ebp);
  say(a, 'record-end');
  a.add(edi, RECORD_SIZE);
  a.cmp(edi, mem32(ebp, MISMATCH.SEEN_END));
  a.jz('seen-done');
  a.dec(ecx);
  a.jnz('seen-record');
  a.mov(esi, address('text:more'));
  a.jmp('print-lines');
  a.label('seen-done');
  a.ret();
}
