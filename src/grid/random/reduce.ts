import type { Entry, Page, Scenario, Step } from '../scenario.ts';
import { withFeatures } from './arbitrary.ts';
import { repair } from './repair.ts';

/** A scenario with one thing less or simpler; undefined where that thing is not there. */
type Reduction = (scenario: Scenario) => Scenario | undefined;

/**
 * Makes a scenario that fails as small as it gets: no step, L2, entry, page, flag or further circumstance can go without
 * it passing.
 * @param fails whether a scenario, which is valid, still fails
 */
export function reduceScenario(scenario: Scenario, fails: (candidate: Scenario) => boolean): Scenario {
  let smallest = scenario;
  const attempt = (reduction: Reduction): boolean => {
    const reduced = reduction(smallest);
    const candidate = reduced && repair(withFeatures(reduced, reduced.absent ?? []));
    // Repair may put back what was taken away.
    if (candidate === undefined || sizeOf(candidate) >= sizeOf(smallest) || !fails(candidate)) return false;
    smallest = candidate;
    return true;
  };
  for (;;) {
    const removed = removeSteps(() => smallest.steps.length, attempt);
    const simplified = simplifications(smallest).map(attempt).includes(true);
    if (!removed && !simplified) return smallest;
  }
}

const sizeOf = (scenario: Scenario): number => JSON.stringify(scenario).length;

/** Removes runs of steps, long ones first, from the end backwards. */
function removeSteps(length: () => number, attempt: (reduction: Reduction) => boolean): boolean {
  let progress = false;
  for (let run = Math.ceil(length() / 2); run >= 1; run = run === 1 ? 0 : Math.ceil(run / 2)) {
    for (let first = length() - run; first > -run; first -= run) {
      const from = Math.max(first, 0);
      const without: Reduction = (scenario) => ({
        ...scenario,
        steps: scenario.steps.filter((_, index) => index < from || index >= first + run),
      });
      if (attempt(without)) progress = true;
    }
  }
  return progress;
}

/** Everything else that might go. Each looks anew whether what it removes is still there. */
function simplifications(scenario: Scenario): Reduction[] {
  return [
    unusedParts,
    ...Object.keys(scenario.l2).map(
      (name): Reduction =>
        (other) =>
          withoutL2(other, name),
    ),
    ...Object.entries(scenario.pages).flatMap(([name, page]) => pageReductions(name, page)),
    ...scenario.steps.flatMap((step, index) =>
      simplerSteps(step).map(
        (simpler): Reduction =>
          (other) =>
            other.steps[index] === step ? { ...other, steps: other.steps.with(index, simpler) } : undefined,
      ),
    ),
    ...levelReductions(scenario),
    ...l2Reductions(scenario),
    ({ absent, ...rest }) => (absent === undefined ? undefined : rest),
  ];
}

/** Without the L2s that nobody enters and the pages that nothing names. */
function unusedParts(scenario: Scenario): Scenario | undefined {
  const entered = new Set(scenario.steps.flatMap((step) => (step.do === 'enter' ? [step.l2] : [])));
  const l2 = Object.fromEntries(Object.entries(scenario.l2).filter(([name]) => entered.has(name)));
  const text = JSON.stringify([scenario.l1, l2, scenario.steps, Object.values(scenario.pages)]);
  const pages = Object.fromEntries(
    Object.entries(scenario.pages).filter(([name]) =>
      ['"', '+', '@'].some((end) => text.includes(`"${name}${end}`)),
    ),
  );
  const same =
    Object.keys(pages).length === Object.keys(scenario.pages).length &&
    Object.keys(l2).length === Object.keys(scenario.l2).length;
  return same ? undefined : { ...scenario, l2, pages };
}

function withoutL2(scenario: Scenario, name: string): Scenario | undefined {
  const { [name]: gone, ...l2 } = scenario.l2;
  if (gone === undefined || scenario.steps.some((step) => step.do === 'enter' && step.l2 === name))
    return undefined;
  return { ...scenario, l2 };
}

const WIDTHS = ['entries4', 'entries8'] as const;

function pageReductions(name: string, page: Page): Reduction[] {
  const withEntry =
    (width: (typeof WIDTHS)[number], index: number, entry: Entry | undefined): Reduction =>
    (scenario) => {
      const there = scenario.pages[name];
      if (there?.[width]?.[index] === undefined) return undefined;
      const { [index]: _, ...others } = there[width];
      const entries = entry === undefined ? others : { ...others, [index]: entry };
      return { ...scenario, pages: { ...scenario.pages, [name]: { ...there, [width]: entries } } };
    };
  return WIDTHS.flatMap((width) =>
    Object.entries(page[width] ?? {}).flatMap(([index, entry]) => [
      withEntry(width, Number(index), undefined),
      ...fewerFlags(entry).map((fewer) => withEntry(width, Number(index), fewer)),
    ]),
  );
}

const fewerFlags = (entry: Entry): Entry[] =>
  entry.flags
    .split(' ')
    .filter((flag) => flag !== '' && flag !== 'P')
    .map((flag) => ({
      ...entry,
      flags: entry.flags
        .split(' ')
        .filter((other) => other !== flag)
        .join(' '),
    }));

function levelReductions(scenario: Scenario): Reduction[] {
  const own = scenario.l1.flags.map(
    (flag): Reduction =>
      (other) => ({ ...other, l1: { ...other.l1, flags: other.l1.flags.filter((kept) => kept !== flag) } }),
  );
  const theirs = Object.entries(scenario.l2).flatMap(([name, state]) =>
    state.flags.map(
      (flag): Reduction =>
        (other) => {
          const there = other.l2[name];
          if (there === undefined) return undefined;
          return {
            ...other,
            l2: { ...other.l2, [name]: { ...there, flags: there.flags.filter((kept) => kept !== flag) } },
          };
        },
    ),
  );
  return [...own, ...theirs];
}

/** An L2 with its page faults to itself, and one without nested paging. */
function l2Reductions(scenario: Scenario): Reduction[] {
  return Object.keys(scenario.l2).flatMap((name) =>
    (['interceptPageFaults', 'nested'] as const).map(
      (key): Reduction =>
        (other) => {
          const there = other.l2[name];
          if (there?.[key] === undefined) return undefined;
          const { [key]: _, ...without } = there;
          return { ...other, l2: { ...other.l2, [name]: without } };
        },
    ),
  );
}

/** Forms of a step with one circumstance less. */
function simplerSteps(step: Step): Step[] {
  switch (step.do) {
    case 'enter': {
      const { vmcb, ...withoutVmcb } = step;
      const { reflect, ...withoutReflect } = step;
      const { mend, ...withoutMend } = step;
      const fewer = Object.keys(vmcb ?? {}).map((key): Step => {
        const changes = Object.fromEntries(Object.entries(vmcb ?? {}).filter(([other]) => other !== key));
        return { ...step, vmcb: changes };
      });
      return [
        ...fewer,
        ...(vmcb === undefined ? [] : [withoutVmcb]),
        ...(reflect === undefined ? [] : [withoutReflect]),
        ...(mend === undefined ? [] : [withoutMend]),
      ];
    }
    case 'probe': {
      const { ac, ...bare } = step;
      const entries =
        step.entry === undefined ? [] : fewerFlags(step.entry).map((entry): Step => ({ ...step, entry }));
      return ac === undefined ? entries : [bare, ...entries];
    }
    case 'edit': {
      const { stores, ...bare } = step;
      const fewer = fewerFlags(step.entry).map((entry): Step => ({ ...step, entry }));
      return stores === undefined ? fewer : [bare, ...fewer];
    }
    case 'switch':
      return step.flags.map((flag) => ({ ...step, flags: step.flags.filter((other) => other !== flag) }));
    default:
      return [];
  }
}
