import { RULES, type Rules } from '../../l0/rules.ts';
import type { RunHostName } from '../run-host.ts';

/** A host that has an L0. */
export type HostWithL0 = Exclude<RunHostName, 'bare'>;

/** What becomes of a mutant. */
export type Fate =
  /** A guest sees it: a probe of this scenario differs from what the oracle allows. */
  | { readonly caught: 'by a probe'; readonly scenario: string }
  /** No guest can see it, and why; `--check` does, in this scenario. */
  | { readonly caught: 'by --check'; readonly scenario: string; readonly why: string }
  /** It is no bug: L0 does the same with it. */
  | { readonly caught: 'never'; readonly proof: string };

/** L0 with one rule answered wrongly. */
export interface Mutant {
  /** Lower case, words separated by hyphens. */
  readonly name: string;
  /** What is wrong, and when KVM had it so, if it had; one line. */
  readonly history: string;
  /** Year and commit of KVM's mending, where known. */
  readonly mended?: string;
  /** Where it lives: L0's paging and the kernel that L0 is part of. Shadow paging under a PAE kernel unless it says so. */
  readonly on?: HostWithL0;
  /** The wrong answers. Called for each VM, so that a mutant may remember something. */
  readonly override: (rules: Rules) => Partial<Rules>;
  readonly fate: Fate;
}

/** A mutant of an L0 that runs its guests on nested tables, under a kernel with PAE paging unless it says otherwise. */
export const nested = (mutant: Omit<Mutant, 'on'>, on: Mutant['on'] = 'npt/pae'): Mutant => ({
  ...mutant,
  on,
});

/** The host that a mutant lives on. */
export const homeOf = ({ on = 'shadow/pae' }: Mutant): HostWithL0 => on;

/** A set of rules with a mutant's among them. */
export const rulesOf = ({ override }: Mutant): Rules => ({ ...RULES, ...override(RULES) });

export const byProbe = (scenario: string): Fate => ({ caught: 'by a probe', scenario });
export const byCheck = (scenario: string, why: string): Fate => ({ caught: 'by --check', scenario, why });
export const equivalent = (proof: string): Fate => ({ caught: 'never', proof });
