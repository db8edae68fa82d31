import { describe, expect, it } from 'vitest';
import { type Progress, withProgress } from '../../src/cli/progress.ts';
import { TestHost } from './host.ts';

class SlowHost extends TestHost {
  #time = 0;
  /** Each look at the clock takes four seconds. */
  override now(): number {
    return (this.#time += 4000);
  }
}

async function* steps(): AsyncGenerator<Progress, string> {
  for (let done = 1; done <= 8; done++) yield { done, total: 8, name: `n${done}` };
  return 'result';
}

describe('progress', () => {
  it('off a terminal is a line every ten seconds', async () => {
    const host = new SlowHost();
    expect(await withProgress(host, steps(), 'things')).toBe('result');
    const lines = host.error.trim().split('\n');
    expect(lines[0]).toMatch(/^umbra: \d of 8 things, last n\d$/);
    expect(lines.length).toBeGreaterThanOrEqual(2);
    expect(lines.length).toBeLessThanOrEqual(4);
  });

  it('is silent where the work is short', async () => {
    const host = new TestHost();
    await withProgress(host, steps());
    expect(host.error).toBe('');
  });

  it('on a terminal names what was done last', async () => {
    const host = new TestHost();
    Object.assign(host.stderr, { isTTY: true, columns: 120, cursorTo: () => {}, clearLine: () => {} });
    await withProgress(host, steps(), 'things');
    expect(host.error).toContain('8 things');
    expect(host.error).toContain('n1');
  });
});
