import { describe, expect, it } from 'vitest';
import { shadowScenarios, withImages } from '../../tools/elsewhere/images.ts';
import { qemuMissing, runOnQemu } from '../../tools/elsewhere/qemu.ts';
import { QEMU_FINDINGS } from '../../tools/elsewhere/qemu-findings.ts';
import { reportOf } from '../../tools/elsewhere/report.ts';
import type { Transcript } from '../../tools/elsewhere/transcript.ts';

const missing = qemuMissing();
if (missing !== undefined) console.log(`skipped, because ${missing}: the exported image on QEMU TCG`);

describe.skipIf(missing !== undefined)('the exported image on QEMU TCG', () => {
  it('shows what is known of QEMU and nothing else', { timeout: 600_000 }, async () => {
    const scenarios = new Map(shadowScenarios().map((scenario) => [scenario.name, scenario]));
    const report = await withImages([...scenarios.values()], async (images) => {
      const transcripts: Transcript[] = [];
      for (const { path, absent } of images) transcripts.push(await runOnQemu(path, absent));
      return reportOf(transcripts, scenarios, QEMU_FINDINGS);
    });
    expect(report.unexplained.map(({ text }) => text)).toEqual([]);
    expect(report.passed + report.failed + report.skipped.length).toBe(scenarios.size);
    expect(report.passed).toBeGreaterThan(70);
    // A finding that does not show any more is none: this QEMU no longer has it.
    expect(report.known.map(({ finding }) => finding.name)).toEqual(QEMU_FINDINGS.map(({ name }) => name));
  });
});
