import type { ProbeFormName } from '../guest/probe-forms.ts';

/** Paging of a 32-bit guest. `2-level` has CR4.PSE clear. */
export const PAGING_MODES = ['off', '2-level', '2-level+PSE', 'PAE'] as const;
export type PagingMode = (typeof PAGING_MODES)[number];

/** CPU features that a scenario may need, by the names of `umbra run --cpu`. SVM is always needed. */
export const CPU_FEATURES = ['pse', 'pae', 'pge', 'nx', 'smep', 'smap', 'npt'] as const;
export type CpuFeature = (typeof CPU_FEATURES)[number];

/** Register bits that scenarios change beside the paging mode. */
export const FLAGS = ['CR0.WP', 'CR4.PGE', 'CR4.SMEP', 'CR4.SMAP', 'EFER.NX'] as const;
export type Flag = (typeof FLAGS)[number];
/** Bits that a `set` step may change: those above and those of the paging mode itself. */
export const SETTABLE_FLAGS = [...FLAGS, 'CR0.PG', 'CR4.PSE', 'CR4.PAE'] as const;
export type SettableFlag = (typeof SETTABLE_FLAGS)[number];

/**
 * Flags of a paging-structure entry, separated by spaces, and the numbers of further bits to set: `P W U A D` or
 * `P W U 51`. The empty text is an entry of zero.
 *
 *     P present  W writable  U user  PWT  PCD  A accessed  D dirty  PS large page  G global  NX bit 63
 */
export type EntryFlags = string;

/**
 * A page by name, with an offset as in `large+0x200000`. Under nested paging a page has another address for L2 than for L1;
 * `data@0x40003000` is the page as L2's tables name it, where nested tables lead from there to it.
 */
export type PageReference = string;

/** A paging-structure entry: an address (a reference to a page, or a number). */
export interface Entry {
  readonly to?: PageReference | number;
  readonly flags: EntryFlags;
}

/**
 * 4 KiB of L1's physical memory. Whatever it is, it carries markers (see marker.ts), so that a probe that ends up
 * here by mistake shows where it is.
 */
export interface Page {
  /** Physical address; without, the compiler places the page among the others. */
  readonly at?: number;
  /** Width of `entries` in bytes; a page may be a table of 4-byte and 8-byte entries at once. */
  readonly entries4?: Readonly<Record<number, Entry>>;
  readonly entries8?: Readonly<Record<number, Entry>>;
  /** Further contents: 32-bit words by offset. */
  readonly words?: Readonly<Record<number, number>>;
}

/** State of an address space's owner: its paging mode, its root and the flags that are set. */
export interface SpaceState {
  readonly mode: PagingMode;
  /** Page that CR3 points to, with an offset for a PDPT inside a page: `root+0xfe0`. Absent only with paging off. */
  readonly root?: PageReference;
  readonly flags: readonly Flag[];
}

/** An L2: how its VMCB is before the first entry. */
export interface L2State extends SpaceState {
  readonly asid: number;
  /** L1 intercepts L2's page faults. */
  readonly interceptPageFaults?: boolean;
  /**
   * Page that nCR3 points to, with an offset as in `root`: L1 runs this L2 with nested paging. Its tables have the format of
   * L1's paging mode at VMRUN (APM vol. 2 15.25.3). Absent: nCR3 is not used; what CR3 points to translates for L1's memory.
   */
  readonly nested?: PageReference;
}

/** TLB_CONTROL 1, 3 and 7 (APM vol. 2 table 15-9). */
export const TLB_CONTROL_NAMES = ['all', 'asid', 'asid-non-global'] as const;
export type TlbControlName = (typeof TLB_CONTROL_NAMES)[number];

/** What L1 writes into the VMCB before it enters L2. All of it stays, but for `inject` and `tlbControl`. */
export interface VmcbChanges extends Partial<Omit<L2State, 'nested'>> {
  /** As in L2State; false ends nested paging. */
  readonly nested?: PageReference | false;
  /** Bits 63:32 of nCR3. */
  readonly nestedHigh?: number;
  /** G_PAT, which counts with nested paging only: 64 bits, `0x0007040600070406`. */
  readonly gPat?: string;
  readonly tlbControl?: TlbControlName;
  readonly inject?: { readonly vector: number; readonly errorCode?: number };
}

/** One thing that the current level does. L1 begins; `enter` and `leave` change the level. Addresses are linear. */
export type Step =
  | EnterStep
  | { readonly do: 'leave' }
  /** Turns paging off, loads the other registers, and turns it on again. */
  | ({ readonly do: 'switch' } & SpaceState)
  /** Changes one register bit, the others staying as they are. */
  | { readonly do: 'set'; readonly flag: SettableFlag; readonly value: boolean }
  | { readonly do: 'load-cr3'; readonly root: PageReference }
  | { readonly do: 'reload-cr3' }
  | EditStep
  | {
      readonly do: 'write';
      readonly page: string;
      readonly offset: number;
      readonly width: 1 | 2 | 4;
      readonly value: number;
    }
  /** Reads memory through the agents' own mapping: stores of probes, accessed and dirty flags. */
  | { readonly do: 'read'; readonly page: string; readonly offset: number; readonly width: 4 | 8 }
  | { readonly do: 'invlpg'; readonly at: number }
  | { readonly do: 'invlpga'; readonly at: number; readonly asid: number }
  | ProbeStep
  | HostMemoryStep
  /** Writes the PAT MSR, if there is a value (64 bits, as in `gPat`), and reads it. */
  | { readonly do: 'pat'; readonly value?: string }
  /** Compares CR0, CR3, CR4 and EFER with what software has written. */
  | { readonly do: 'registers' };

export interface EnterStep {
  readonly do: 'enter';
  readonly l2: string;
  readonly vmcb?: VmcbChanges;
  /** L1 injects page faults that it intercepts into L2; otherwise L2 goes on with its next step. */
  readonly reflect?: boolean;
  /**
   * What L1 does about L2's first nested page fault: it writes this entry, and L2 tries again. At later ones, or without,
   * L2 goes on with its next step.
   */
  readonly mend?: EntryEdit;
}

/** A paging-structure entry and where it goes. */
export interface EntryEdit {
  readonly page: string;
  readonly index: number;
  readonly width: 4 | 8;
  readonly entry: Entry;
}

/** Writes a paging-structure entry through the agents' own mapping. */
export interface EditStep extends EntryEdit {
  readonly do: 'edit';
  /** An 8-byte entry: in one store (the default), low half first, or high half first. */
  readonly stores?: 'one' | 'low-first' | 'high-first';
}

export interface ProbeStep {
  readonly do: 'probe';
  readonly form: ProbeFormName;
  readonly cpl: 0 | 3;
  readonly at: number;
  /** What a write or a read-modify-write stores; the low bytes of it where the access is narrower. */
  readonly value?: number;
  /** Instead of `value`: the low half of an entry, for an edit of a table through a mapping of it. */
  readonly entry?: Entry;
  /** EFLAGS.AC during the access. */
  readonly ac?: boolean;
  /** What this probe is about, for reports: `read-only user page`. */
  readonly about?: string;
}

/**
 * What the host below L1 does with the memory behind one of L1's pages.
 *
 *     move    other host memory takes its place, contents kept, as when a host migrates a page: L1 must not notice
 *     remove  the page is no memory any more: reads give all ones, writes are lost
 *     return  the page is memory again, with the contents that it had
 */
export const HOST_MEMORY_ACTIONS = ['move', 'remove', 'return'] as const;
export type HostMemoryAction = (typeof HOST_MEMORY_ACTIONS)[number];

/** Asks the host below L1, through a port of the machine, to act on a page; see `HOST_MEMORY_ACTIONS`. */
export interface HostMemoryStep {
  readonly do: 'host';
  readonly action: HostMemoryAction;
  readonly page: string;
}

/** What not every host of scenarios can do; see `hostNeeds`. */
export type HostAbility = 'move memory' | 'remove memory';

/** Abilities that a scenario's steps ask of the host below L1. */
export function hostNeeds(scenario: Scenario): HostAbility[] {
  const actions = scenario.steps.flatMap((step) => (step.do === 'host' ? [step.action] : []));
  const needs: HostAbility[] = actions.includes('move') ? ['move memory'] : [];
  return actions.some((action) => action !== 'move') ? [...needs, 'remove memory'] : needs;
}

/** The highest ASID that L1 gives to an L2. */
export function highestAsid({ l2, steps }: Scenario): number {
  const changed = steps.map((step) => (step.do === 'enter' ? (step.vmcb?.asid ?? 0) : 0));
  return Math.max(0, ...Object.values(l2).map(({ asid }) => asid), ...changed);
}

export type StepKind = Step['do'];

/** One test: memory, an L1, its L2s, and what they do one after another. Plain data; JSON holds all of it. */
export interface Scenario {
  /** Unique in a run: lower case, words separated by hyphens and slashes. */
  readonly name: string;
  /** One sentence. */
  readonly about: string;
  /** Features of the processor that it needs. */
  readonly features: readonly CpuFeature[];
  /** Features that the processor must not have: using them raises what it raises on such a processor. */
  readonly absent?: readonly CpuFeature[];
  readonly pages: Readonly<Record<string, Page>>;
  readonly l1: SpaceState;
  readonly l2: Readonly<Record<string, L2State>>;
  readonly steps: readonly Step[];
}
