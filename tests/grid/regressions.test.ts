import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runScenario } from '../../src/grid/run.ts';
import { parseScenarios } from '../../src/grid/text/parse.ts';
import { umbraHost } from '../../src/grid/umbra-host.ts';

const folder = new URL('regressions/', import.meta.url);
const hosts = [
  umbraHost({ l0: 'none' }),
  umbraHost({ l0: 'shadow' }),
  umbraHost({ l0: 'shadow', check: true }),
  umbraHost({ l0: 'npt', host: 'pae' }),
  umbraHost({ l0: 'npt', host: 'nopae' }),
];

/** Scenarios that once showed a bug in the processor, in L0 or in the oracle; each file says which. */
describe('scenarios that found bugs', () => {
  const files = readdirSync(folder).filter((name) => name.endsWith('.scenario'));
  it.each(files)('%s', { timeout: 60_000 }, (name) => {
    const scenarios = parseScenarios(readFileSync(new URL(name, folder), 'utf8'), name);
    for (const scenario of scenarios) {
      for (const host of hosts) {
        const { mismatches, probes, skipped } = runScenario(scenario, host);
        expect(mismatches.map(({ text }) => `${host.name}: ${text}`)).toEqual([]);
        if (skipped === undefined) expect(probes).toBeGreaterThan(0);
      }
    }
  });
});
