import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { exportScenarios } from '../../src/grid/export/export.ts';
import { resultOf } from '../../src/grid/result-of.ts';
import type { RunHost } from '../../src/grid/run-host.ts';
import type { Scenario } from '../../src/grid/scenario.ts';
import { Machine } from '../../src/machine/machine.ts';
import { HostedMachine } from '../../src/vmm/hosted-machine.ts';

const MEMORY = 128 << 20;
const LONGEST = 2_000_000_000;

/** What an image did on Umbra. */
export interface Transcript {
  readonly text: string;
  readonly lines: readonly string[];
  /** What it wrote to the debug exit port; undefined if it ended otherwise. */
  readonly exit: number | undefined;
}

/** Exports scenarios as `umbra export` does. */
export function exported(scenarios: readonly Scenario[]): Promise<Uint8Array<ArrayBuffer>> {
  return resultOf(exportScenarios(scenarios));
}

/** Runs an image on the bare processor, or as L0's guest. */
export function transcriptOf(
  image: Uint8Array<ArrayBuffer>,
  {
    l0 = 'none',
    host = 'pae',
    cpu = 'current-amd',
    commandLine = '',
  }: { l0?: RunHost['l0']; host?: 'pae' | 'nopae'; cpu?: string; commandLine?: string } = {},
): Transcript {
  const bytes: number[] = [];
  const options = {
    model: parseCpuModel(cpu),
    memoryBytes: MEMORY,
    events: { serial: (byte: number) => void bytes.push(byte) },
  };
  const machine = l0 === 'none' ? new Machine(options) : new HostedMachine({ ...options, l0, host });
  machine.load({ image, commandLine });
  const stop = machine.run(LONGEST);
  const text = Buffer.from(bytes).toString('utf8');
  return {
    text,
    lines: text.split('\n').slice(0, -1),
    exit: stop.kind === 'debug-exit' ? stop.value : undefined,
  };
}
