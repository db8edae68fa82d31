import type { HostMemoryAction, Scenario, Step } from '../../scenario.ts';
import { BASIC_PROBES, ProbeWriter } from '../probes.ts';
import { type NptCell, nptScenario, nptSpaces, visitA } from './cell.ts';
import { plainGuest } from './guest.ts';

const SPACE_OPTIONS = { leaves: ['present', 'read-only', 'dirty'], directories: ['dir', 'large'] } as const;
/** All ones are no code. */
const DATA_PROBES = BASIC_PROBES.filter(({ form }) => form !== 'fetch');

/** The host below L1 moves nested tables, L2's tables and data, and takes data away and gives it back. */
export function nestedMemoryScenarios(cell: NptCell): Scenario[] {
  const spaces = nptSpaces(cell, SPACE_OPTIONS);
  const guest = plainGuest(cell.l2, spaces.nested.targets);
  const pages = [...Object.keys(spaces.nested.pages), ...Object.keys(guest.pages)];
  const host = (action: HostMemoryAction, page: string): Step => ({ do: 'host', action, page });
  const scenario = (family: string, about: string, steps: readonly Step[]): Scenario =>
    nptScenario(cell, { family, about, spaces, guest, steps });

  const writer = new ProbeWriter();
  const moveAll = pages.map((page) => host('move', page));
  const moves: Step[] = [
    ...visitA(writer.some(guest.targets)),
    ...moveAll,
    ...visitA([...writer.all(guest.targets), ...moveAll, ...writer.all(guest.targets)]),
    ...pages.flatMap((page, index) => [
      host('move', page),
      ...visitA(writer.some(guest.targets.slice(index % guest.targets.length).slice(0, 2))),
    ]),
  ];
  const data = guest.targets.filter(({ page }) => spaces.nested.pages[page] !== undefined);
  const removals = data.flatMap((target): Step[] => {
    const probes = DATA_PROBES.map((kind) => writer.probe(target, kind));
    return [
      ...visitA([...probes, host('remove', target.page), ...probes]),
      ...visitA(probes),
      host('return', target.page),
      ...visitA(writer.all([target])),
    ];
  });
  return [
    scenario(
      'moved-memory',
      "The host moves nested tables, L2's tables and data while they are in use.",
      moves,
    ),
    scenario('removed-memory', 'The host takes pages of L2 away and gives them back.', removals),
  ];
}
