import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MachineEnd } from '../../src/grid/judge.ts';
import type { MachineRequest, ScenarioHost } from '../../src/grid/run.ts';
import { AGENT_STATE } from '../../src/guest/agent-core.ts';
import { AGENT_LAYOUT } from '../../src/guest/agent-layout.ts';
import { agents } from '../../src/guest/agents.ts';
import { parseLogDump } from '../../src/guest/log-dump.ts';

const PROGRAM = 'qemu-system-i386';
const TIMEOUT = 5_000;

/** Why QEMU cannot be used here; undefined if it can. */
export function qemuMissing(): string | undefined {
  const { status } = spawnSync(PROGRAM, ['--version']);
  return status === 0 ? undefined : `${PROGRAM} is not installed`;
}

/**
 * QEMU's own processor, with SVM. MAXPHYADDR is 36 in the i386 build and PDPTEs are read from memory on use; the
 * features are what TCG emulates of an EPYC.
 */
export const qemuHost: ScenarioHost = {
  name: 'QEMU TCG',
  processor: { features: {}, maxPhyAddr: 36, pdptes: 'memory' },
  needsDump: true,
  run({ image, memory, absent }: MachineRequest): MachineEnd {
    const directory = mkdtempSync(join(tmpdir(), 'umbra-qemu-'));
    try {
      const file = join(directory, 'image');
      writeFileSync(file, image);
      const { status, stdout, stderr, signal } = spawnSync(PROGRAM, argumentsFor(file, memory, absent), {
        encoding: 'latin1',
        timeout: TIMEOUT,
      });
      return machineEnd(stdout, stderr, status, signal);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
};

// biome-ignore format: table
const argumentsFor = (file: string, memory: number, absent: readonly string[]): string[] => [
  '-M', 'pc', '-accel', 'tcg', '-cpu', ['EPYC', ...absent.map((feature) => `-${feature}`)].join(','), '-m', `${memory / 2 ** 20}`, '-kernel', file,
  '-device', 'isa-debug-exit,iobase=0xf4,iosize=4', '-display', 'none', '-serial', 'stdio',
  '-monitor', 'none', '-net', 'none', '-no-reboot',
];

function machineEnd(
  stdout: string,
  stderr: string,
  status: number | null,
  signal: string | null,
): MachineEnd {
  let dump: { log: Uint8Array; exitCode: number };
  try {
    dump = parseLogDump(stdout);
  } catch {
    const complaint = stderr.split('\n').filter((line) => line !== '' && !line.includes('warning:'))[0] ?? '';
    const how = signal === null ? `ended with status ${status}` : `was ended by ${signal}`;
    return {
      exitCode: undefined,
      reason: `QEMU ${how} ${complaint}`,
      read: emptyLog,
      instructions: undefined,
    };
  }
  const pointer = new Uint8Array(4);
  new DataView(pointer.buffer).setUint32(0, AGENT_LAYOUT.LOG + dump.log.length, true);
  return {
    exitCode: dump.exitCode,
    reason: `it wrote ${dump.exitCode} to the debug exit port`,
    instructions: undefined,
    read: (address, length) => {
      if (address === agents().at(AGENT_STATE.LOG)) return pointer;
      if (address === AGENT_LAYOUT.LOG && length <= dump.log.length) return dump.log.subarray(0, length);
      throw new RangeError('Of the memory of QEMU only the log is known.');
    },
  };
}

/** Memory in which the log is empty. */
function emptyLog(_address: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  if (length === 4) new DataView(bytes.buffer).setUint32(0, AGENT_LAYOUT.LOG, true);
  return bytes;
}
