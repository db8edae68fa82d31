import { describe, expect, it } from 'vitest';
import type { Scenario } from '../../src/grid/scenario.ts';
import type { Finding } from '../../tools/elsewhere/explain.ts';
import { type ImageFile, scenariosWithoutNesting, withImages } from '../../tools/elsewhere/images.ts';
import { fetchKvmKernel } from '../../tools/elsewhere/kvm/files.ts';
import { KVM_FINDINGS } from '../../tools/elsewhere/kvm/findings.ts';
import { kvmMissing, runOnKvm } from '../../tools/elsewhere/kvm/kvm.ts';
import { qemuMissing, runOnQemu, shortQemuScenarios } from '../../tools/elsewhere/qemu.ts';
import { QEMU_FINDINGS } from '../../tools/elsewhere/qemu-findings.ts';
import { type HostReport, reportOf } from '../../tools/elsewhere/report.ts';
import type { Transcript } from '../../tools/elsewhere/transcript.ts';
import { FOLDER } from './kernels.ts';

/** Runs scenarios on a host, image by image, and sorts what it did. */
function reportOn(
  scenarios: readonly Scenario[],
  findings: readonly Finding[],
  run: (image: ImageFile) => Promise<Transcript>,
): Promise<HostReport> {
  return withImages(scenarios, async (images) => {
    const transcripts: Transcript[] = [];
    for (const image of images) transcripts.push(await run(image));
    return reportOf(transcripts, new Map(scenarios.map((scenario) => [scenario.name, scenario])), findings);
  });
}

function expectKnown(report: HostReport, findings: readonly Finding[], scenarios: number): void {
  expect(report.unexplained.map(({ text }) => text)).toEqual([]);
  expect(report.passed + report.failed + report.skipped.length).toBe(scenarios);
  // A finding that does not show any more is none: this host no longer has it.
  expect(report.known.map(({ finding }) => finding.name)).toEqual(findings.map(({ name }) => name));
}

const missing = qemuMissing();
if (missing !== undefined) console.log(`skipped, because ${missing}: the exported image on QEMU TCG`);

describe.skipIf(missing !== undefined)('the exported image on QEMU TCG', () => {
  it('shows what is known of QEMU and nothing else', { timeout: 600_000 }, async () => {
    // `npm run grid:elsewhere -- qemu` runs every scenario with nested paging.
    const scenarios = shortQemuScenarios();
    const report = await reportOn(scenarios, QEMU_FINDINGS, ({ path, absent }) => runOnQemu(path, absent));
    expectKnown(report, QEMU_FINDINGS, scenarios.length);
    expect(report.passed).toBeGreaterThan(70);
  });
});

const kvm = "the exported image on Linux's KVM";
const missingKvm = kvmMissing();
if (missingKvm !== undefined) console.log(`skipped, because ${missingKvm}: ${kvm}`);

describe.skipIf(missingKvm !== undefined)(kvm, () => {
  it('shows what is known of KVM and nothing else', { timeout: 600_000 }, async ({ skip }) => {
    try {
      await fetchKvmKernel(FOLDER, 'amd64');
    } catch (error) {
      if (process.env.UMBRA_REQUIRE_KERNELS) throw error;
      console.log(
        `skipped, because apt did not fetch a kernel with KVM (${(error as Error).message}): ${kvm}`,
      );
      skip();
    }
    // The smallest ones, which show every finding; `npm run grid:elsewhere -- kvm-amd64` runs them all.
    const scenarios = scenariosWithoutNesting().filter(({ name }) => /^(?:directed|elsewhere)\//.test(name));
    const report = await reportOn(scenarios, KVM_FINDINGS, ({ path, absent }) =>
      runOnKvm(FOLDER, 'amd64', path, absent),
    );
    expectKnown(report, KVM_FINDINGS, scenarios.length);
    expect(report.passed).toBeGreaterThan(30);
  });
});
