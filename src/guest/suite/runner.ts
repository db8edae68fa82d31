import { MSR } from '../../arch/msrs.ts';
import { CR0 } from '../../arch/registers.ts';
import { AGENT_STATE } from '../agent-core.ts';
import { AGENT_LAYOUT, DEBUG_EXIT_PORT } from '../agent-layout.ts';
import type { Agents } from '../agents.ts';
import {
  type Assembler,
  address,
  cr0,
  cr3,
  cr4,
  ds,
  dx,
  eax,
  ebx,
  ecx,
  edi,
  edx,
  es,
  esi,
  esp,
  fs,
  gs,
  mem,
  mem32,
  ss,
} from '../assembler.ts';
import { CATALOGUE, CATALOGUE_ENTRY_SIZE, PDPTES, SUITE_EXIT, SUITE_FEATURES } from './format.ts';
import { emitShortGuest, writeMsr } from './short-guest.ts';
import { emitTexts, say } from './texts.ts';

const CODE_SELECTOR = 0x08;
const DATA_SELECTOR = 0x10;
const FLAT_CODE = [0x0000_ffff, 0x00cf_9b00] as const;
const FLAT_DATA = [0x0000_ffff, 0x00cf_9300] as const;

/**
 * Emits the program that goes through the catalogue. Every scenario begins as if the machine had just been booted: the
 * agents' program anew, memory as the scenario has it, paging off, no translation of any ASID cached.
 */
export function emitRunner(a: Assembler, agents: Agents): void {
  emitEntry(a);
  emitLoop(a);
  emitStart(a, agents);
  emitShortGuest(a);
  emitReturn(a, agents);
  emitEnd(a);
  a.align(8);
  a.label('suite-gdt');
  a.data32(0, 0, ...FLAT_CODE, ...FLAT_DATA);
  a.label('suite-gdt-pointer');
  a.data16(3 * 8 - 1);
  a.data32(address('suite-gdt'));
  a.align(4);
  for (const word of ['current', 'number', 'passed', 'failed', 'skipped']) {
    a.label(word);
    a.data32(0);
  }
  emitTexts(a, {
    version: 'TAP version 13\n',
    'plan-from-1': '1..',
    'no-svm': '1..0 # SKIP: no SVM\n',
    'svm-disabled': '1..0 # SKIP: SVM is disabled (VM_CR.SVMDIS)\n',
    processor: '# processor:',
    'processor-bits': ', MAXPHYADDR ',
    'pdptes-1': ', PDPTEs loaded with CR3\n',
    'pdptes-2': ', PDPTEs read from memory on use\n',
    'pdptes-4': ', PDPTEs read from memory on use and checked by VMRUN\n',
    run: '# run ',
    passed: ' ok, ',
    failed: ' not ok, ',
    skipped: ' skipped\n',
    comment: '# ',
    end: '# end\n',
  });
}

function emitEntry(a: Assembler): void {
  a.label('suite-entry');
  a.cli();
  a.cld();
  a.mov(esp, address('suite-stack-top'));
  a.call('read-options');
  a.call('suite-segments');
  a.call('print-setup');
  say(a, 'version');
  a.call('detect');
  a.call('print-processor');
  say(a, 'plan-from-1');
  a.mov(ebx, mem32(address('suite-count')));
  a.call('print-decimal');
  a.call('print-newline');
  a.mov(mem32(address('current')), address('catalogue'));
  a.jmp('suite-scenario');

  a.label('no-svm');
  say(a, 'no-svm');
  a.jmp('suite-finish');
  a.label('svm-disabled');
  say(a, 'svm-disabled');
  a.jmp('suite-finish');

  a.label('print-processor');
  say(a, 'processor');
  SUITE_FEATURES.forEach(({ name }, index) => {
    a.test(mem32(address('features')), 1 << index);
    a.jz(`processor-no-${name}`);
    say(a, `feature-${index}`);
    a.label(`processor-no-${name}`);
  });
  say(a, 'processor-bits');
  a.mov(ebx, mem32(address('address-bits')));
  a.call('print-decimal');
  a.mov(esi, address('text:pdptes-1'));
  a.cmp(mem32(address('pdptes')), PDPTES.REGISTERS);
  a.jz('print-text');
  a.mov(esi, address('text:pdptes-2'));
  a.cmp(mem32(address('pdptes')), PDPTES.MEMORY);
  a.jz('print-text');
  a.mov(esi, address('text:pdptes-4'));
  a.jmp('print-text');
}

/** What the processor lacks for the current scenario, or the scenario itself. */
function emitLoop(a: Assembler): void {
  a.label('suite-next');
  a.add(mem32(address('current')), CATALOGUE_ENTRY_SIZE);
  a.label('suite-scenario');
  a.mov(esi, mem32(address('current')));
  a.cmp(esi, address('catalogue-end'));
  a.jae('suite-done');
  a.inc(mem32(address('number')));
  a.mov(eax, mem32(address('number')));
  a.cmp(eax, mem32(address('option-first')));
  a.jb('suite-skip-unasked');
  a.cmp(eax, mem32(address('option-last')));
  a.ja('suite-skip-unasked');
  a.cmp(mem32(esi, CATALOGUE.IMPOSSIBLE * 4), 0);
  a.jnz('suite-skip-impossible');
  a.mov(edx, mem32(address('features')));
  a.mov(eax, edx);
  a.not(eax);
  a.and(eax, mem32(esi, CATALOGUE.NEEDS * 4));
  a.jnz('suite-skip-features');
  a.mov(eax, edx);
  a.and(eax, mem32(esi, CATALOGUE.LACKS * 4));
  a.jnz('suite-skip-without');
  a.mov(eax, mem32(esi, CATALOGUE.ASIDS * 4));
  a.cmp(eax, mem32(address('asids')));
  a.ja('suite-skip-asids');
  a.mov(eax, mem32(esi, CATALOGUE.MAX_BITS * 4));
  a.cmp(eax, mem32(address('address-bits')));
  a.jb('suite-skip-bits');
  a.jmp('suite-start');
  for (const reason of ['features', 'without', 'asids', 'bits', 'unasked', 'impossible']) {
    a.label(`suite-skip-${reason}`);
    a.call(`skip-${reason}`);
    a.jmp('suite-next');
  }
}

function emitStart(a: Assembler, agents: Agents): void {
  a.label('suite-start');
  // A machine that dies in a scenario has said in which.
  say(a, 'run');
  a.call('print-name');
  a.call('print-newline');
  copy(a, 'agents-image', AGENT_LAYOUT.IMAGE);
  a.mov(ecx, (AGENT_LAYOUT.TABLES - AGENT_LAYOUT.IMAGE) / 4 - agents.bytes.length / 4);
  a.xor(eax, eax);
  a.rep();
  a.stosd();
  copy(a, 'agents-tables', AGENT_LAYOUT.TABLES);
  a.mov(ebx, mem32(address('current')));
  a.mov(esi, mem32(ebx, CATALOGUE.PACKED * 4));
  a.mov(edx, mem32(ebx, CATALOGUE.PACKED_END * 4));
  a.mov(edi, address('unpacked'));
  a.call('unpack');
  a.call('load-pieces');
  a.mov(mem32(agents.at(AGENT_STATE.RUNNER)), address('suite-return'));
  emitFlush(a);
  a.mov(eax, agents.entry);
  a.jmp(eax);
}

function copy(a: Assembler, label: string, to: number): void {
  a.mov(esi, address(label));
  a.mov(edi, to);
  a.mov(ecx, mem32(address(`${label}-words`)));
  a.rep();
  a.movsd();
}

/** Forgets the translations of every ASID. Paging is off before and afterwards. */
function emitFlush(a: Assembler): void {
  a.mov(esi, address('flush-directory'));
  a.mov(cr3, esi);
  a.mov(eax, cr0);
  a.or(eax, CR0.PG);
  a.mov(cr0, eax);
  a.xor(ebx, ebx);
  a.call('run-short-guest');
  a.mov(eax, cr0);
  a.and(eax, 0x7fff_ffff);
  a.mov(cr0, eax);
}

/** The L1 agent comes here at its end, by a jump, with paging off. */
function emitReturn(a: Assembler, agents: Agents): void {
  a.label('suite-return');
  a.cld();
  a.xor(eax, eax);
  a.mov(cr4, eax);
  writeMsr(a, MSR.EFER, 0);
  a.mov(esp, address('suite-stack-top'));
  a.call('suite-segments');
  a.mov(eax, mem32(agents.at(AGENT_STATE.LOG)));
  a.mov(mem32(address('log-end')), eax);
  a.mov(eax, mem32(agents.at(AGENT_STATE.EXIT)));
  a.mov(mem32(address('exit-code')), eax);
  a.call('judge');
  a.call('report');
  a.jmp('suite-next');

  a.label('suite-segments');
  a.lgdt(mem(address('suite-gdt-pointer')));
  a.jmpFar(CODE_SELECTOR, 'suite-flat');
  a.label('suite-flat');
  a.mov(eax, DATA_SELECTOR);
  for (const segment of [ss, ds, es, fs, gs]) a.mov(segment, eax);
  a.ret();
}

function emitEnd(a: Assembler): void {
  a.label('suite-done');
  say(a, 'comment');
  for (const count of ['passed', 'failed', 'skipped']) {
    a.mov(ebx, mem32(address(count)));
    a.call('print-decimal');
    say(a, count);
  }
  a.label('suite-finish');
  a.mov(eax, SUITE_EXIT.OK);
  a.cmp(mem32(address('failed')), 0);
  a.jz('suite-leave');
  a.mov(eax, SUITE_EXIT.MISMATCHES);
  a.label('suite-leave');
  a.mov(dx, DEBUG_EXIT_PORT);
  a.out(dx, eax);
  // No such port here: stop for good.
  say(a, 'end');
  a.label('suite-halt');
  a.cli();
  a.hlt();
  a.jmp('suite-halt');
}
