import { type Assembler, address, eax, ebx, esi, mem32 } from '../assembler.ts';
import { CATALOGUE, SUITE_FEATURES } from './format.ts';
import { emitMismatchReport } from './mismatch-report.ts';
import { emitTexts, say } from './texts.ts';

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
  ended: '  ended: "agent status ',
  after: ', last record in step ',
  quote: '"\n',
};

/**
 * Emits the lines of TAP for one scenario: `report` for one that was judged, and `skip-features`, `skip-without` (EAX:
 * the features, a bit each) `skip-asids`, `skip-bits`, `skip-unasked` and `skip-impossible` for those that cannot run here. `current` is the catalogue entry, `number`
 * its number.
 */
export function emitReport(a: Assembler): void {
  emitVerdict(a);
  emitMismatchReport(a);
  emitSkips(a);
  emitTexts(a, TEXTS);
  for (const [index, { name }] of SUITE_FEATURES.entries())
    emitTexts(a, { [`feature-${index}`]: ` ${name}` });
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
  a.call('report-mismatches');
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
