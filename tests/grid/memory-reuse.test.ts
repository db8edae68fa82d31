import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { CpuMemory } from '../../src/cpu/cpu-memory.ts';
import { compileScenario } from '../../src/grid/compile.ts';
import { matrix } from '../../src/grid/matrix/matrix.ts';
import { SCENARIO_MEMORY } from '../../src/grid/placement.ts';
import type { MachineRequest } from '../../src/grid/run.ts';
import type { Scenario } from '../../src/grid/scenario.ts';
import { umbraHost } from '../../src/grid/umbra-host.ts';
import { AGENT_LAYOUT } from '../../src/guest/agent-layout.ts';
import { Machine } from '../../src/machine/machine.ts';
import { HostedMachine, hostMemory } from '../../src/vmm/hosted-machine.ts';

const MODEL = parseCpuModel('current-amd');
/** Some of every cell. */
const SCENARIOS: readonly Scenario[] = matrix().flatMap(({ scenarios }) =>
  scenarios.filter((_, index) => index % 9 === 0),
);

const requestOf = (scenario: Scenario): MachineRequest => ({
  image: compileScenario(scenario).image,
  features: scenario.features,
  absent: scenario.absent ?? [],
  memory: SCENARIO_MEMORY,
  maxInstructions: 10_000_000,
});

/** Words of RAM that are not zero. */
function leftovers(memory: CpuMemory): number {
  const words = new Uint32Array(memory.wasm.buffer, memory.ramBase, memory.ramBytes / 4);
  let count = 0;
  for (let at = 0; at < words.length; at++) if (words[at] !== 0) count++;
  return count;
}

const MACHINES = {
  bare: [() => new CpuMemory(SCENARIO_MEMORY), Machine],
  hosted: [() => hostMemory(SCENARIO_MEMORY), HostedMachine],
} as const;

describe.each(['bare', 'hosted'] as const)('memory that served a %s machine', (kind) => {
  const [make, Kind] = MACHINES[kind];

  it('is clear for the next one, whatever was written', { timeout: 120_000 }, () => {
    const memory = make();
    for (const scenario of SCENARIOS) {
      const machine = new Kind({ model: MODEL, memoryBytes: SCENARIO_MEMORY, memory });
      machine.load({ image: requestOf(scenario).image });
      expect(machine.run(10_000_000).kind).toBe('debug-exit');
    }
    expect(leftovers(memory)).toBeGreaterThan(1000);
    memory.clear();
    expect(leftovers(memory)).toBe(0);
  });

  it('makes no difference to the next one', { timeout: 120_000 }, () => {
    const l0 = kind === 'bare' ? 'none' : 'shadow';
    const reused = umbraHost({ l0 });
    const log = (host: ReturnType<typeof umbraHost>, scenario: Scenario) => {
      const { instructions, reason, read } = host.run(requestOf(scenario));
      const bytes = read(AGENT_LAYOUT.LOG, AGENT_LAYOUT.LOG_LIMIT - AGENT_LAYOUT.LOG);
      return { instructions, reason, log: createHash('sha256').update(bytes).digest('hex') };
    };
    for (const scenario of SCENARIOS.slice(0, 8))
      expect(log(reused, scenario)).toEqual(log(umbraHost({ l0 }), scenario));
  });
});

describe('a host of scenarios', () => {
  it('refuses to read what the next run wrote over', () => {
    const host = umbraHost({ l0: 'none' });
    const request = requestOf(SCENARIOS[0]);
    const first = host.run(request);
    first.read(0, 16);
    host.run(request);
    expect(() => first.read(0, 16)).toThrow('this machine is gone');
  });
});

describe('memory of another size', () => {
  it('is refused', () => {
    const memory = new CpuMemory(1 << 20);
    expect(() => new Machine({ model: MODEL, memoryBytes: 2 << 20, memory })).toThrow(
      'A processor with 2097152 bytes of RAM was given memory with 1048576.',
    );
  });
});
