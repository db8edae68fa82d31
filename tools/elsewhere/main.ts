import { join, resolve } from 'node:path';
import type { Scenario } from '../../src/grid/scenario.ts';
import type { Finding } from './explain.ts';
import { type ImageFile, scenariosWithoutNesting, withImages } from './images.ts';
import { KVM_FINDINGS } from './kvm/findings.ts';
import { kvmMissing, runOnKvm } from './kvm/kvm.ts';
import { qemuMissing, qemuScenarios, runOnQemu } from './qemu.ts';
import { QEMU_FINDINGS } from './qemu-findings.ts';
import { reportOf, reportText } from './report.ts';
import type { Transcript } from './transcript.ts';

interface ElsewhereHost {
  readonly name: string;
  readonly findings: readonly Finding[];
  /** What it can run. */
  readonly scenarios: () => Scenario[];
  /** Why it cannot be used here. */
  readonly missing: () => string | undefined;
  readonly run: (image: ImageFile) => Promise<Transcript>;
}

const KERNELS = join(resolve(process.env.UMBRA_KERNELS ?? 'kernels'));

const kvm = (kernel: 'amd64' | '686-pae' | '686'): ElsewhereHost => ({
  name: `Linux KVM (${kernel}, nested=1 npt=0) on QEMU TCG`,
  findings: KVM_FINDINGS,
  scenarios: scenariosWithoutNesting,
  missing: kvmMissing,
  run: ({ path, absent }) => runOnKvm(KERNELS, kernel, path, absent),
});

const HOSTS: Readonly<Record<string, ElsewhereHost>> = {
  qemu: {
    name: 'QEMU TCG',
    findings: QEMU_FINDINGS,
    scenarios: qemuScenarios,
    missing: qemuMissing,
    run: ({ path, absent }) => runOnQemu(path, absent),
  },
  'kvm-amd64': kvm('amd64'),
  'kvm-686-pae': kvm('686-pae'),
  'kvm-686': kvm('686'),
};

/**
 * Runs the exported image on hosts that are not ours, and lists what they do otherwise than the oracle says, with the
 * finding that explains it. Arguments: names of hosts (all without), and parts of names of scenarios to run (all
 * without). Exit status 1 if anything is unexplained.
 */
async function main(args: readonly string[]): Promise<number> {
  const named = args.filter((name) => HOSTS[name] !== undefined).map((name) => HOSTS[name]);
  const parts = args.filter((name) => HOSTS[name] === undefined);
  let unexplained = 0;
  for (const host of named.length > 0 ? named : Object.values(HOSTS)) {
    const missing = host.missing();
    if (missing !== undefined) {
      console.log(`${host.name}: skipped, because ${missing}`);
      continue;
    }
    const scenarios = new Map(
      host
        .scenarios()
        .filter(({ name }) => parts.length === 0 || parts.some((part) => name.includes(part)))
        .map((scenario) => [scenario.name, scenario]),
    );
    unexplained += await runHost(host, scenarios);
  }
  return unexplained > 0 ? 1 : 0;
}

/** Answers how many mismatches nothing explains. */
const runHost = (host: ElsewhereHost, scenarios: ReadonlyMap<string, Scenario>): Promise<number> =>
  withImages([...scenarios.values()], async (images) => {
    const started = performance.now();
    const transcripts: Transcript[] = [];
    for (const image of images) transcripts.push(await host.run(image));
    const report = reportOf(transcripts, scenarios, host.findings);
    console.log(reportText(host.name, report, (performance.now() - started) / 1000));
    return report.unexplained.length;
  });

process.exitCode = await main(process.argv.slice(2));
