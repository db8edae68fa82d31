import { CR0, CR4, EFER } from '../arch/registers.ts';
import { entryText } from './entry.ts';
import { registersText } from './records.ts';
import { type PagingRegisters, pagingModeOf } from './registers.ts';
import type { EntryEdit, L2State, Scenario, SpaceState, Step, VmcbChanges } from './scenario.ts';
import { L1 } from './tracker.ts';

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;

/** A step as one line of a scenario's text form. */
export function stepText(step: Step): string {
  switch (step.do) {
    case 'enter':
      return `enter ${step.l2}${step.reflect === true ? ' reflect' : ''}${mendText(step.mend)}${vmcbText(step.vmcb)}`;
    case 'leave':
    case 'reload-cr3':
    case 'registers':
      return step.do;
    case 'switch':
      return `switch ${spaceText(step)}`;
    case 'set':
      return `set ${step.flag}=${step.value ? 1 : 0}`;
    case 'load-cr3':
      return `load-cr3 ${step.root}`;
    case 'edit': {
      const stores = step.stores === undefined || step.stores === 'one' ? '' : ` ${step.stores}`;
      return `edit ${editText(step)}${stores}`;
    }
    case 'write':
      return `write ${step.page}+${hex(step.offset)}/${step.width} = ${hex(step.value)}`;
    case 'read':
      return `read ${step.page}+${hex(step.offset)}/${step.width}`;
    case 'invlpg':
      return `invlpg ${hex(step.at)}`;
    case 'invlpga':
      return `invlpga ${hex(step.at)} asid ${step.asid}`;
    case 'probe': {
      const value = step.value === undefined ? '' : ` value ${hex(step.value)}`;
      const about = step.about === undefined ? '' : ` (${step.about})`;
      const entry = step.entry === undefined ? '' : ` entry ${entryText(step.entry)}`;
      const ac = step.ac === true ? ' AC' : '';
      return `probe ${step.form} cpl ${step.cpl} at ${hex(step.at)}${value}${entry}${ac}${about}`;
    }
    case 'pat':
      return step.value === undefined ? 'pat' : `pat = ${step.value}`;
    case 'host':
      return `host ${step.action} ${step.page}`;
  }
}

const editText = ({ page, index, width, entry }: EntryEdit): string =>
  `${page}[${index}]/${width} = ${entryText(entry)}`;

const mendText = (mend: EntryEdit | undefined): string =>
  mend === undefined ? '' : ` mend ${editText(mend)}`;

function vmcbText(changes: VmcbChanges | undefined): string {
  if (changes === undefined) return '';
  const parts: string[] = [];
  if (changes.mode !== undefined) parts.push(changes.mode);
  if (changes.root !== undefined) parts.push(`root ${changes.root}`);
  if (changes.flags !== undefined) parts.push(`flags ${changes.flags.join(' ') || 'none'}`);
  if (changes.asid !== undefined) parts.push(`asid ${changes.asid}`);
  if (changes.nested !== undefined) {
    parts.push(changes.nested === false ? 'no nested paging' : `nested ${changes.nested}`);
  }
  if (changes.nestedHigh !== undefined) parts.push(`nested-high ${hex(changes.nestedHigh)}`);
  if (changes.gPat !== undefined) parts.push(`g-pat ${changes.gPat}`);
  if (changes.interceptPageFaults !== undefined) {
    parts.push(changes.interceptPageFaults ? 'intercept #PF' : 'no #PF intercept');
  }
  if (changes.tlbControl !== undefined) parts.push(`flush ${changes.tlbControl}`);
  if (changes.inject !== undefined) {
    const { vector, errorCode } = changes.inject;
    parts.push(`inject ${vector}${errorCode === undefined ? '' : ` error ${hex(errorCode)}`}`);
  }
  return parts.length === 0 ? '' : ` with ${parts.join(', ')}`;
}

const spaceText = ({ mode, root, flags }: SpaceState): string =>
  [mode, ...(root === undefined ? [] : [`root ${root}`]), ...flags].join(' ');

function l2Text(state: L2State): string {
  const nested = state.nested === undefined ? '' : ` nested ${state.nested}`;
  const intercepts = state.interceptPageFaults === true ? ' intercept #PF' : '';
  return `${spaceText(state)} asid ${state.asid}${nested}${intercepts}`;
}

/**
 * A scenario as text: what it is about, its address spaces, its pages and its steps. `parseScenarios` reads it back.
 */
export function scenarioText(scenario: Scenario): string {
  const lines = [`scenario ${scenario.name}`, `  ${scenario.about}`];
  if (scenario.features.length > 0) lines.push(`  needs ${scenario.features.join(' ')}`);
  if (scenario.absent !== undefined) lines.push(`  on a processor without ${scenario.absent.join(' ')}`);
  lines.push(`  ${L1}: ${spaceText(scenario.l1)}`);
  for (const [name, state] of Object.entries(scenario.l2)) lines.push(`  ${name}: ${l2Text(state)}`);
  for (const [name, page] of Object.entries(scenario.pages)) {
    lines.push(`  page ${name}${page.at === undefined ? '' : ` at ${hex(page.at)}`}`);
    for (const width of [4, 8] as const) {
      const entries = (width === 4 ? page.entries4 : page.entries8) ?? {};
      for (const [index, entry] of Object.entries(entries))
        lines.push(`    [${index}]/${width} ${entryText(entry)}`);
    }
    for (const [offset, word] of Object.entries(page.words ?? {}))
      lines.push(`    +${hex(Number(offset))} ${hex(word)}`);
  }
  scenario.steps.forEach((step, index) => {
    lines.push(`  ${index + 1}. ${stepText(step)}`);
  });
  return `${lines.join('\n')}\n`;
}

/** The registers of a step, as QEMU's `info registers` prints them. */
export const pagingRegistersText = ({ cr0, cr3, cr4, efer }: PagingRegisters): string =>
  registersText(cr0, cr3, cr4, efer);

/**
 * The cpu role of a level, as its registers ask for it whatever the hypervisor makes of it: the paging mode, and by KVM's
 * names the bits that are set. Page and root roles (level, quadrant, access) are L0's, and printed as its trace has them.
 */
export function roleText(registers: PagingRegisters, level: string): string {
  const { cr0, cr4, efer } = registers;
  const mode = pagingModeOf(registers);
  const bits: string[] = [];
  if (mode === 'off') bits.push('direct');
  else {
    const wp = (cr0 & CR0.WP) !== 0;
    if ((cr4 & CR4.PAE) === 0) bits.push('has_4_byte_gpte');
    if ((efer & EFER.NXE) !== 0) bits.push('efer_nx');
    if (wp) bits.push('cr0_wp');
    if ((cr4 & CR4.SMEP) !== 0) bits.push('cr4_smep');
    if ((cr4 & CR4.SMAP) !== 0) bits.push('cr4_smap');
    if ((cr4 & CR4.SMEP) !== 0 && !wp) bits.push('smep_andnot_wp');
    if ((cr4 & CR4.SMAP) !== 0 && !wp) bits.push('smap_andnot_wp');
  }
  if (level !== L1) bits.push('guest_mode');
  return `${mode}: ${bits.join(' ') || 'no bits'}`;
}
