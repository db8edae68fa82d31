import fc from 'fast-check';
import { featuresOf } from '../matrix/cell.ts';
import type { CpuFeature, Entry, Page, Scenario, Step } from '../scenario.ts';
import { nestedShape } from './nested-shape.ts';
import { FRAMES, type Shape, shape } from './shape.ts';
import { entryFor, pagesInFrames, type Slot, slotsOf, widthOf } from './slots.ts';
import { stepsOn } from './steps.ts';

/** What random scenarios are about. */
export const RANDOM_ABOUT = 'Random steps on a few pages.';
export const RANDOM_NESTED_ABOUT = 'Random steps on a few pages, with nested paging.';

/** Groups of one to seven steps, about two on average. */
const LEAST_GROUPS = 9;
const MOST_GROUPS = 28;

/** Features that a processor may lack and have the modes all the same. */
const DISPENSABLE: readonly CpuFeature[] = ['nx', 'smep', 'smap', 'pge'];
const absentAmong = (features: readonly CpuFeature[]): fc.Arbitrary<CpuFeature[]> =>
  fc.oneof(
    { weight: 15, arbitrary: fc.constant<CpuFeature[]>([]) },
    { weight: 1, arbitrary: fc.constantFrom(...features).map((feature) => [feature]) },
  );

/**
 * Scenarios of every kind of step, before anybody has looked whether each step can stand where it is.
 * @param nested L1 has nested tables for its L2s
 */
export const rawScenario = (name: string, nested: boolean): fc.Arbitrary<Scenario> =>
  (nested ? nestedShape : shape).chain((ground) => {
    const slots = slotsOf(ground);
    const entries = fc.tuple(
      ...slots.map((slot) =>
        fc.option(entryFor(slot, ground), { freq: slot.kind.startsWith('PT') ? 8 : 20, nil: undefined }),
      ),
    );
    const steps = fc
      .array(stepsOn(ground), { minLength: LEAST_GROUPS, maxLength: MOST_GROUPS, size: 'max' })
      .map((groups) => groups.flat());
    return fc
      .record({ entries, steps, absent: absentAmong(nested ? [...DISPENSABLE, 'npt'] : DISPENSABLE) })
      .map((parts) => build(name, ground, slots, parts.entries, parts.steps, parts.absent));
  });

function build(
  name: string,
  ground: Shape,
  slots: readonly Slot[],
  entries: readonly (Entry | undefined)[],
  steps: readonly Step[],
  missing: readonly CpuFeature[],
): Scenario {
  const scenario = {
    name,
    about: ground.nested === undefined ? RANDOM_ABOUT : RANDOM_NESTED_ABOUT,
    pages: pagesOf(ground, slots, entries),
    l1: ground.l1,
    l2: ground.l2,
    steps,
  };
  return withFeatures(scenario, missing);
}

/** A scenario with the features that it needs and those that its processor lacks. */
export function withFeatures(
  scenario: Omit<Scenario, 'features'> & { readonly features?: unknown },
  missing: readonly CpuFeature[],
): Scenario {
  const { name, about, features: _, absent: __, ...rest } = scenario;
  const features = featuresOf(scenario).filter((feature) => !missing.includes(feature));
  return { name, about, features, ...(missing.length === 0 ? {} : { absent: missing }), ...rest };
}

function pagesOf(
  ground: Shape,
  slots: readonly Slot[],
  entries: readonly (Entry | undefined)[],
): Record<string, Page> {
  const pages: Record<
    string,
    { at?: number; entries4?: Record<number, Entry>; entries8?: Record<number, Entry> }
  > = {};
  const { roots, tables, data, frames, nested } = ground;
  for (const page of [...roots, ...(nested?.roots ?? []), ...tables, ...data]) pages[page] = {};
  for (const frame of frames) {
    const at = FRAMES[frame];
    pages[frame] = { at };
    // Where the pages are in a large page of either half: only there do probes find markers.
    for (const page of pagesInFrames(ground))
      pages[`${frame}.${page.toString(16)}`] = { at: at + page * 0x1000 };
  }
  slots.forEach((slot, index) => {
    const entry = entries[index];
    if (entry === undefined) return;
    const page = pages[slot.page];
    if (widthOf(slot) === 4) (page.entries4 ??= {})[slot.index] = entry;
    else (page.entries8 ??= {})[slot.index] = entry;
  });
  return pages;
}
