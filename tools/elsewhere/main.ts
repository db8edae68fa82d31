import { allScenarios } from '../../src/grid/replay.ts';
import type { Finding } from './explain.ts';
import { type ImageFile, withImages } from './images.ts';
import { qemuMissing, runOnQemu } from './qemu.ts';
import { QEMU_FINDINGS } from './qemu-findings.ts';
import { reportOf, reportText } from './report.ts';
import type { Transcript } from './transcript.ts';

/**
 * Runs the exported image on hosts that are not ours, and lists what they do otherwise than the oracle says, with the
 * finding that explains it. Exit status 1 if anything is unexplained.
 */
interface ElsewhereHost {
  readonly name: string;
  readonly findings: readonly Finding[];
  /** Why it cannot be used here. */
  readonly missing: () => string | undefined;
  readonly run: (image: ImageFile) => Promise<Transcript>;
}

const HOSTS: readonly ElsewhereHost[] = [
  {
    name: 'QEMU TCG',
    findings: QEMU_FINDINGS,
    missing: qemuMissing,
    run: ({ path, absent }) => runOnQemu(path, absent),
  },
];

async function main(): Promise<number> {
  const scenarios = new Map(allScenarios().map((scenario) => [scenario.name, scenario]));
  let unexplained = 0;
  await withImages([...scenarios.values()], async (images) => {
    for (const host of HOSTS) {
      const missing = host.missing();
      if (missing !== undefined) {
        console.log(`${host.name}: skipped, because ${missing}`);
        continue;
      }
      const started = performance.now();
      const transcripts: Transcript[] = [];
      for (const image of images) transcripts.push(await host.run(image));
      const report = reportOf(transcripts, scenarios, host.findings);
      console.log(reportText(host.name, report, (performance.now() - started) / 1000));
      unexplained += report.unexplained.length;
    }
  });
  return unexplained > 0 ? 1 : 0;
}

process.exitCode = await main();
