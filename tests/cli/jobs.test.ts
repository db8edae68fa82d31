import { fileURLToPath, pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { asCompleted } from '../../src/cli/jobs/as-completed.ts';
import { type Execute, onHosts, type Task } from '../../src/grid/execute.ts';
import type { ScenarioVerdict } from '../../src/grid/judge.ts';
import { matrix } from '../../src/grid/matrix/matrix.ts';
import type { Scenario } from '../../src/grid/scenario.ts';
import { umbraHosts } from '../../src/grid/umbra-host.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

async function collect<Value>(values: AsyncIterable<Value>): Promise<Value[]> {
  const all: Value[] = [];
  for await (const value of values) all.push(value);
  return all;
}

describe('asCompleted', () => {
  it('gives what is there first', async () => {
    const resolvers: ((value: string) => void)[] = [];
    const promises = [0, 1, 2].map(() => new Promise<string>((resolve) => resolvers.push(resolve)));
    const collected = collect(asCompleted(promises));
    for (const index of [1, 2, 0]) {
      resolvers[index](`value ${index}`);
      await promises[index];
    }
    expect(await collected).toEqual(['value 1', 'value 2', 'value 0']);
  });

  it('throws the first rejection, and leaves none unhandled', async () => {
    const promises = ['first', 'second'].map((message) => Promise.reject(new Error(message)));
    await expect(collect(asCompleted(promises))).rejects.toThrow('first');
  });
});

describe('onThreads', () => {
  const written = matrix().flatMap(({ way, scenarios }) => (way === 'shadow' ? scenarios.slice(0, 1) : []));
  // Each scenario on two hosts: on threads it goes to both at once.
  const tasks = (['bare', 'shadow/pae'] as const).flatMap((on) =>
    written.map((work): Task => ({ work, on })),
  );

  /** As it is in the package: threads load no TypeScript. */
  const pool = (): Promise<typeof import('../../src/cli/jobs/pool.ts')> =>
    import(pathToFileURL(`${root}dist/cli/jobs/pool.js`).href);

  async function verdicts(execute: Execute, asked: readonly Task[]): Promise<ScenarioVerdict[]> {
    const found: ScenarioVerdict[] = [];
    for (const { index, verdict } of await collect(execute(asked))) found[index] = verdict;
    return found;
  }

  it('answers as one thread does', { timeout: 120_000 }, async () => {
    const { onThreads } = await pool();
    const alone = await verdicts(onHosts(umbraHosts()), tasks);
    expect(alone.every(({ probes }) => probes > 10)).toBe(true);
    expect(await verdicts(onThreads({ check: false }, 2), tasks)).toEqual(alone);
  });

  it('throws the InputError of a scenario that cannot be', async () => {
    const { onThreads } = await pool();
    const [first] = tasks;
    const wrong = { ...first, work: { ...(first.work as Scenario), steps: [{ do: 'leave' }] } } as const;
    const run = collect(onThreads({ check: false }, 2)([wrong, wrong, first]));
    await expect(run).rejects.toMatchObject({ name: 'InputError', message: /leave/ });
  });
});
