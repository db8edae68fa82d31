import { PAGE_SIZE } from '../arch/address.ts';
import { InputError } from '../arch/input-error.ts';
import { AGENT_LAYOUT } from '../guest/agent-layout.ts';
import type { Page, PageReference, Scenario } from './scenario.ts';

/** Physical memory that a scenario may use: 0 to here. */
export const SCENARIO_MEMORY = 0x0400_0000;

const hex = (value: number): string => `0x${value.toString(16)}`;

/** Physical addresses of a scenario's pages, by name, in the order of the scenario. */
export type Placement = ReadonlyMap<string, number>;

/** Gives every page its place. Throws an InputError for a place that is taken, not a page, or not for scenarios. */
export function placePages(scenario: Scenario): Placement {
  const placement = new Map<string, number>();
  const taken = new Map<number, string>();
  for (const [name, page] of Object.entries(scenario.pages)) {
    if (page.at === undefined) continue;
    checkPlace(scenario, name, page.at, taken.get(page.at));
    taken.set(page.at, name);
  }
  let next: number = AGENT_LAYOUT.PAGES;
  for (const [name, page] of Object.entries(scenario.pages) as [string, Page][]) {
    if (page.at === undefined) {
      while (taken.has(next)) next += PAGE_SIZE;
      checkPlace(scenario, name, next, undefined);
      taken.set(next, name);
    }
    placement.set(name, page.at ?? next);
    if (page.at === undefined) next += PAGE_SIZE;
  }
  return placement;
}

function checkPlace(scenario: Scenario, name: string, at: number, other: string | undefined): void {
  const where = `Page "${name}" of scenario "${scenario.name}"`;
  if (at % PAGE_SIZE !== 0)
    throw new InputError(`${where} is at ${hex(at)}, which is not a multiple of 4096.`);
  if (at < AGENT_LAYOUT.PAGES || at >= SCENARIO_MEMORY) {
    const room = `${hex(AGENT_LAYOUT.PAGES)} to ${hex(SCENARIO_MEMORY)}`;
    throw new InputError(`${where} is at ${hex(at)}; pages of scenarios lie in ${room}.`);
  }
  if (other !== undefined)
    throw new InputError(`${where} is at ${hex(at)}, where page "${other}" is already.`);
}

/** A page's name, where L2 has it if that is another place, and an offset: `pdpt`, `large+0x200000`, `pt@0x40001000`. */
const REFERENCE = /^(.*?)(?:@(0x[0-9a-f]+|[0-9]+))?(?:\+(0x[0-9a-f]+|[0-9]+))?$/i;

interface ResolvedReference {
  /** Address that an entry or a register has to hold. */
  readonly address: number;
  /** Where the bytes are in L1's physical memory. */
  readonly place: number;
}

function parts(placement: Placement, reference: PageReference): ResolvedReference {
  const [, name, seenAt, offset] = REFERENCE.exec(reference)!;
  const page = placement.get(name);
  if (page === undefined) {
    throw new InputError(`There is no page "${name}"; the scenario has ${[...placement.keys()].join(', ')}.`);
  }
  const seen = seenAt === undefined ? page : Number(seenAt);
  if (seen % PAGE_SIZE !== 0)
    throw new InputError(`"${reference}" is at ${hex(seen)} for L2, which is not a multiple of 4096.`);
  const behind = offset === undefined ? 0 : Number(offset);
  return { address: seen + behind, place: page + behind };
}

/**
 * Address that a reference stands for in an entry or a register: the page's physical one, or the one that it has for L2,
 * and the offset; a number is itself. Throws an InputError if there is no such page.
 */
export const resolve = (placement: Placement, reference: PageReference | number): number =>
  typeof reference === 'number' ? reference : parts(placement, reference).address;

/** Where in L1's physical memory the bytes are that a reference names. Throws an InputError if there is no such page. */
export const placeOf = (placement: Placement, reference: PageReference): number =>
  parts(placement, reference).place;
