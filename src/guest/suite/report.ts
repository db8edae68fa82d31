import { RECORD, RECORD_SIZE, RECORD_STATUS } from '../agent-layout.ts';
import { type Assembler, address, eax, ebp, ebx, ecx, edi, esi, mem32 } from '../assembler.ts';
import { CATALOGUE, FIELD_COUNT, STEP, SUITE_FEATURES } from './format.ts';

/** Records of a step that the report shows at most. */
const MOST_RECORDS = 8;

// biome-ignore format: table
/** How a record is shown, by its status: the names of fields A to F. */
const SHOWN: readonly { status: number; fields: readonly string[] }[] = [
  { status: RECORD_STATUS.DONE,       fields: ['value', 'b', 'c', 'd'] },
  { status: RECORD_STATUS.FAULT,      fields: ['fault', 'error-code', 'cr2', 'eip', 'cs', 'eflags'] },
  { status: RECORD_STATUS.EXIT,       fields: ['exit', 'exitinfo1', 'exitinfo2', 'eip', 'exitintinfo', 'eflags'] },
  { status: RECORD_STATUS.UNEXPECTED, fields: ['unexpected-fault', 'error-code', 'cr2', 'eip', 'cs', 'eflags'] },
];

/** Prints a text that is known here. ESI, EBX, EAX and EDX are lost. */
export function say(a: Assembler, label: string): void {
  a.mov(esi, address(`text:${label}`));
  a.call('print-text');
}

/** Emits the texts that `say` knows, zero-terminated. */
export function emitTexts(a: Assembler, texts: Readonly<Record<string, string>>): void {
  for (const [label, text] of Object.entries(texts)) {
    a.label(`text:${label}`);
    a.text(text);
    a.data8(0);
  }
}

const TEXTS = {
  ok: 'ok ',
  'not-ok': 'not ok ',
  dash: ' - ',
  skip: ' # SKIP',
  needs: ' needs',
  'not-asked': ' not asked for\n',
  without: ' a processor without',
  asids: ' ASIDs',
  bits: ' MAXPHYADDR of at most ',
  space: ' ',
  'yaml-begin': '\n  ---\n',
  'yaml-end': '  ...\n',
  'step-number': '  step: ',
  'seen-none': '  seen: []\n',
  seen: '  seen:\n',
  more: '    # and more\n',
  mismatches: '  mismatches: ',
  ended: '  ended: "agent status ',
  after: ', last record in step ',
  quote: '"\n',
  record: '    - {level: ',
  'record-end': '}\n',
  'field-separator': ', ',
  hex: ': 0x',
};

/**
 * Emits the lines of TAP for one scenario: `report` for one that was judged, and `skip-features`, `skip-without` (EAX:
 * the features, a bit each) `skip-asids`, `skip-bits`, `skip-unasked` and `skip-impossible` for those that cannot run here. `current` is the catalogue entry, `number`
 * its number.
 */
export function emitReport(a: Assembler): void {
  emitVerdict(a);
  emitMismatch(a);
  emitSeen(a);
  emitSkips(a);
  emitTexts(a, TEXTS);
  for (const [index, { name }] of SUITE_FEATURES.entries())
    emitTexts(a, { [`feature-${index}`]: ` ${name}` });
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

function emitVerdict(a: Assembler): void {
  a.label('report');
  a.mov(eax, mem32(address('mismatches')));
  a.or(eax, mem32(address('exit-code')));
  a.jnz('report-not-ok');
  a.inc(mem32(address('passed')));
  say(a, 'ok');
  a.call('report-name');
  a.jmp('print-newline');

  a.label('report-not-ok');
  a.inc(mem32(address('failed')));
  say(a, 'not-ok');
  a.call('report-name');
  say(a, 'yaml-begin');
  a.cmp(mem32(address('mismatches')), 0);
  a.jz('report-ended');
  a.call('report-mismatch');
  a.label('report-ended');
  a.cmp(mem32(address('exit-code')), 0);
  a.jz('report-done');
  say(a, 'ended');
  a.mov(ebx, mem32(address('exit-code')));
  a.call('print-decimal');
  say(a, 'after');
  a.mov(ebx, mem32(address('last-step')));
  a.call('print-decimal');
  say(a, 'quote');
  a.label('report-done');
  a.mov(esi, address('text:yaml-end'));
  a.jmp('print-text');

  // Number and name of the current scenario.
  a.label('report-name');
  a.mov(ebx, mem32(address('number')));
  a.call('print-decimal');
  say(a, 'dash');
  a.label('print-name');
  a.mov(esi, mem32(address('current')));
  a.mov(esi, mem32(esi, CATALOGUE.NAME * 4));
  a.jmp('print-text');
}

function emitMismatch(a: Assembler): void {
  const text = (field: number): void => {
    a.mov(esi, mem32(address('first-step')));
    a.mov(esi, mem32(esi, field * 4));
    a.add(esi, address('unpacked'));
    a.call('print-text');
  };
  a.label('report-mismatch');
  say(a, 'step-number');
  a.mov(ebx, mem32(address('first-number')));
  a.call('print-decimal');
  a.call('print-newline');
  text(STEP.STEP_TEXT);
  text(STEP.EXPECTED);
  a.call('report-seen');
  text(STEP.REGISTERS);
  say(a, 'mismatches');
  a.mov(ebx, mem32(address('mismatches')));
  a.call('print-decimal');
  a.jmp('print-newline');
}

function emitSeen(a: Assembler): void {
  a.label('report-seen');
  a.mov(edi, mem32(address('first-seen')));
  a.mov(esi, address('text:seen-none'));
  a.cmp(edi, mem32(address('first-seen-end')));
  a.jz('print-text');
  say(a, 'seen');
  a.mov(ecx, MOST_RECORDS);
  a.label('seen-record');
  say(a, 'record');
  a.mov(eax, mem32(edi, RECORD.STATUS * 4));
  a.push(eax);
  a.shr(eax, 8);
  a.mov(ebx, eax);
  a.call('print-decimal');
  a.pop(eax);
  a.and(eax, 0xff);
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
  say(a, 'record-end');
  a.add(edi, RECORD_SIZE);
  a.cmp(edi, mem32(address('first-seen-end')));
  a.jz('seen-done');
  a.dec(ecx);
  a.jnz('seen-record');
  a.mov(esi, address('text:more'));
  a.jmp('print-text');
  a.label('seen-done');
  a.ret();
}

function emitSkips(a: Assembler): void {
  a.label('skip-features');
  a.call('skip-begin');
  a.jmp('skip-names');
  a.label('skip-without');
  a.call('skip-begin');
  say(a, 'without');
  a.label('skip-names');
  SUITE_FEATURES.forEach(({ name }, index) => {
    a.bt(mem32(address('skip-mask')), index);
    a.jnc(`skip-not-${name}`);
    say(a, `feature-${index}`);
    a.label(`skip-not-${name}`);
  });
  a.jmp('print-newline');

  a.label('skip-asids');
  a.call('skip-begin');
  say(a, 'space');
  a.mov(esi, mem32(address('current')));
  a.mov(ebx, mem32(esi, CATALOGUE.ASIDS * 4));
  a.call('print-decimal');
  say(a, 'asids');
  a.jmp('print-newline');

  a.label('skip-bits');
  a.call('skip-begin');
  say(a, 'bits');
  a.mov(esi, mem32(address('current')));
  a.mov(ebx, mem32(esi, CATALOGUE.MAX_BITS * 4));
  a.call('print-decimal');
  a.jmp('print-newline');

  a.label('skip-impossible');
  a.call('skip-begin');
  a.mov(esi, mem32(address('current')));
  a.mov(esi, mem32(esi, CATALOGUE.IMPOSSIBLE * 4));
  a.call('print-text');
  a.jmp('print-newline');

  a.label('skip-begin');
  a.mov(mem32(address('skip-mask')), eax);
  a.inc(mem32(address('skipped')));
  say(a, 'ok');
  a.call('report-name');
  say(a, 'skip');
  a.mov(esi, address('text:needs'));
  a.jmp('print-text');

  a.label('skip-unasked');
  a.inc(mem32(address('skipped')));
  say(a, 'ok');
  a.call('report-name');
  say(a, 'skip');
  a.mov(esi, address('text:not-asked'));
  a.jmp('print-text');
  a.align(4);
  a.label('skip-mask');
  a.data32(0);
}
