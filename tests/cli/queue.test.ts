import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Queue, QueueEvents, Worker } from 'bullmq';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Failure } from '../../src/cli/failure.ts';
import { huntOnQueue, onQueue } from '../../src/cli/jobs/queue.ts';
import { parseQueue, QUEUE_NAME } from '../../src/cli/jobs/redis.ts';
import { onHosts, type Task } from '../../src/grid/execute.ts';
import type { ScenarioVerdict } from '../../src/grid/judge.ts';
import { matrix } from '../../src/grid/matrix/matrix.ts';
import { hunt } from '../../src/grid/mutants/hunt.ts';
import { mutantNamed } from '../../src/grid/mutants/mutants.ts';
import { resultOf } from '../../src/grid/result-of.ts';
import { umbraHosts } from '../../src/grid/umbra-host.ts';
import { TestHost } from './host.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const CHECKS = { check: false } as const;

const missing =
  spawnSync('redis-server', ['--version']).status === 0 ? undefined : 'redis-server is not installed';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

describe.skipIf(missing !== undefined)(
  `umbra grid --queue${missing === undefined ? '' : ` (skipped, because ${missing})`}`,
  () => {
    const scenarios = matrix()
      .slice(0, 8)
      .flatMap((cell) => cell.scenarios.slice(0, 2).map((work): Task => ({ work, on: 'shadow/pae' })));
    const processes: ChildProcess[] = [];
    let folder = '';
    let url = '';

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'umbra-redis-'));
      const port = await freePort();
      url = `redis://127.0.0.1:${port}`;
      await startRedis(port);
    });
    afterAll(() => {
      for (const process of processes) process.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    });

    async function startRedis(port: number): Promise<ChildProcess> {
      const options = ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--dir', folder];
      const redis = spawn('redis-server', options, { stdio: ['ignore', 'pipe', 'ignore'] });
      processes.push(redis);
      await new Promise<void>((resolve) =>
        redis.stdout.on('data', (text) => {
          if (`${text}`.includes('Ready to accept')) resolve();
        }),
      );
      return redis;
    }

    async function startWorker(address = url): Promise<ChildProcess> {
      const args = ['dist/cli/main.js', 'worker', '--queue', address, '--jobs', '1'];
      const worker = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] });
      processes.push(worker);
      await new Promise<void>((resolve, reject) => {
        worker.stderr?.once('data', () => resolve());
        worker.once('exit', (code) => reject(new Error(`The worker ended with ${code}.`)));
      });
      return worker;
    }

    it('loses no scenario and counts none twice when a worker is killed', { timeout: 240_000 }, async () => {
      const expected = scenarios.map((scenario) => {
        const verdicts: ScenarioVerdict[] = [];
        return { scenario, verdicts };
      });
      const doomed = await startWorker();
      const host = new TestHost();
      let helper: Promise<ChildProcess> | undefined;
      for await (const { index, verdict } of onQueue(CHECKS, url, host)(scenarios)) {
        expected[index].verdicts.push(verdict);
        if (helper === undefined) {
          // In the middle of its second scenario: it is killed as soon as the first is there.
          doomed.kill('SIGKILL');
          helper = startWorker();
        }
      }
      expect(expected.map(({ verdicts }) => verdicts.length)).toEqual(scenarios.map(() => 1));
      for await (const { index, verdict } of onHosts(umbraHosts(CHECKS))(scenarios)) {
        expect(expected[index].verdicts).toEqual([verdict]);
      }
      const worker = await helper;
      worker?.kill('SIGINT');
      expect(await new Promise((resolve) => worker?.once('exit', resolve))).toBe(0);
    });

    it('asks again when Redis dies and comes back without its memory', { timeout: 60_000 }, async () => {
      const port = await freePort();
      const address = `redis://127.0.0.1:${port}`;
      const redis = await startRedis(port);
      const work = scenarios.slice(0, 2);
      const host = new TestHost();
      const run = onQueue(CHECKS, address, host)(work)[Symbol.asyncIterator]();
      const first = run.next();
      await expect.poll(() => host.error, { timeout: 10_000 }).toContain('No worker is at');
      redis.kill('SIGKILL');
      await new Promise((resolve) => redis.once('exit', resolve));
      await startRedis(port);
      await startWorker(address);
      const judged = [(await first).value, (await run.next()).value];
      expect(judged.map(({ index }) => index).sort()).toEqual([0, 1]);
      expect((await run.next()).done).toBe(true);
    });

    it('has mutants hunted, each where it lives', { timeout: 60_000 }, async () => {
      const worker = await startWorker();
      const mutants = ['wp-not-in-role', 'private-tables-not-emptied'].map(mutantNamed);
      const verdicts = await resultOf(
        huntOnQueue(
          mutants.map(({ name }) => ({ mutant: name })),
          url,
          new TestHost(),
        ),
      );
      expect(verdicts).toEqual(mutants.map((mutant) => hunt(mutant)));
      worker.kill('SIGINT');
      await new Promise((resolve) => worker.once('exit', resolve));
    });

    it('fails what is no job with a sentence, and goes on', { timeout: 60_000 }, async () => {
      const database = 2;
      const address = `redis://127.0.0.1:${new URL(url).port}/${database}`;
      const worker = await startWorker(address);
      const connection = { host: '127.0.0.1', port: Number(new URL(url).port), db: database };
      const queue = new Queue(QUEUE_NAME, { connection });
      // From the queue's first event on: the worker may be done before anybody listens.
      const events = new QueueEvents(QUEUE_NAME, { connection, lastEventId: '0-0' });
      await events.waitUntilReady();
      const reasons: string[] = [];
      events.on('failed', ({ failedReason }) => reasons.push(failedReason));
      await queue.add('stranger', { judge: { seed: 'x' }, on: 'bare', check: false }, { attempts: 3 });
      await queue.add('stranger', null);
      await expect.poll(() => reasons.length, { timeout: 20_000 }).toBe(2);
      expect(reasons).toEqual([
        expect.stringMatching(/^What a job has to judge is the text of a scenario, or .*\.$/),
        expect.stringMatching(/^A job is an object, and here it is .*\.$/),
      ]);
      const run = onQueue(CHECKS, address, new TestHost())(scenarios.slice(0, 1));
      expect((await run[Symbol.asyncIterator]().next()).value.verdict.mismatches).toEqual([]);
      worker.kill('SIGINT');
      await Promise.all([events.close(), queue.close()]);
    });

    it.each([null, 'nonsense', {}, { verdict: { probes: 1 } }])(
      'is not thrown by a worker that answers %j',
      async (answer) => {
        const address = `redis://127.0.0.1:${new URL(url).port}/1`;
        const connection = { host: '127.0.0.1', port: Number(new URL(url).port), db: 1 };
        const stranger = new Worker(QUEUE_NAME, async () => answer, { connection });
        const run = onQueue(CHECKS, address, new TestHost())(scenarios.slice(0, 1));
        await expect(run[Symbol.asyncIterator]().next()).rejects.toThrow(
          'Scenario 1 came back from the queue without a verdict.',
        );
        await stranger.close();
      },
    );

    it('says that no worker is there, and takes its scenarios back when interrupted', async () => {
      const host = new TestHost();
      const run = onQueue(CHECKS, url, host)(scenarios)[Symbol.asyncIterator]();
      const first = run.next();
      while (!host.error.includes('No worker is at')) await new Promise((resolve) => setTimeout(resolve, 20));
      host.signal('SIGINT');
      await expect(first).rejects.toMatchObject({ message: 'Ended by SIGINT.', status: 130 });
      const { stdout } = spawnSync('redis-cli', ['-u', url, 'llen', `bull:${QUEUE_NAME}:wait`], {
        encoding: 'utf8',
      });
      expect(stdout).toBe('0\n');
    });
  },
);

describe('a queue that is not there', () => {
  it('is said in a sentence', async () => {
    const url = `redis://127.0.0.1:${await freePort()}`;
    const run = onQueue(CHECKS, url, new TestHost())([])[Symbol.asyncIterator]();
    const error: unknown = await run.next().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Failure);
    expect((error as Failure).status).toBe(69);
    expect((error as Failure).message).toContain(`There is no Redis at ${url}: connect ECONNREFUSED`);
  });

  it.each(['localhost:6379', 'http://localhost', 'redis://', ''])('is no address: %j', (text) => {
    expect(() => parseQueue(text)).toThrow('must be the address of a queue');
  });
});
