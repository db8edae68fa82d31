/** Scenarios in which a level cannot go on, and the machine dies of it: the scenario is what is wrong, not the machine. */
import { expect, it } from 'vitest';
import { InputError } from '../../src/arch/input-error.ts';
import { runScenario } from '../../src/grid/run.ts';
import type { Scenario, Step } from '../../src/grid/scenario.ts';
import { umbraHost } from '../../src/grid/umbra-host.ts';

const SMALL: Scenario = {
  name: 'small',
  about: 'Two pages with L1 tables.',
  features: [],
  pages: { pd: {}, other: {} },
  l1: { mode: '2-level', root: 'pd', flags: [] },
  l2: { A: { mode: '2-level', root: 'other', flags: [], asid: 1 } },
  steps: [],
};
const away: Step = { do: 'load-cr3', root: 'pd@0x40000000' };
const enter: Step = { do: 'enter', l2: 'A' };
const leave: Step = { do: 'leave' };

it.each<[string, readonly Step[], string]>([
  ['L1 whose root is where only nested tables lead', [away], 'L1'],
  ['L1 that comes to it later', [enter, leave, away, { do: 'registers' }], 'L1'],
  ['L2 without nested paging', [enter, away, leave], 'A'],
])('%s is refused', (_, steps, level) => {
  const run = (): unknown => runScenario({ ...SMALL, steps }, umbraHost({ l0: 'none' }));
  expect(run).toThrow(InputError);
  expect(run).toThrow(`The agent may not be able to run in ${level}`);
});
