import { FAMILIES, matrix } from '../src/grid/matrix/matrix.ts';
import { runScenario } from '../src/grid/run.ts';
import { explainMismatches } from '../tests/grid/qemu-findings.ts';
import { qemuHost, qemuMissing } from '../tests/grid/qemu-host.ts';

/**
 * Runs the matrix on QEMU's own processor and lists what it does otherwise than the oracle says, with the finding that
 * explains it. Arguments: names of families, none for all. Exit status 1 if anything is unexplained.
 */
function main(wanted: readonly string[]): number {
  const missing = qemuMissing();
  if (missing !== undefined) {
    console.log(`Skipped: ${missing}.`);
    return 0;
  }
  const counts = new Map<string, { mismatches: number; example: string; about: string }>();
  let probes = 0;
  let unexplained = 0;
  for (const cell of matrix()) {
    for (const scenario of cell.scenarios) {
      const family = Object.keys(FAMILIES).find((name) => scenario.name.split('/')[2].startsWith(name));
      if (wanted.length > 0 && (family === undefined || !wanted.includes(family))) continue;
      const verdict = runScenario(scenario, qemuHost);
      probes += verdict.probes;
      for (const { mismatch, finding } of explainMismatches(scenario, verdict.mismatches)) {
        if (finding === undefined) {
          unexplained++;
          console.log(mismatch.text);
          continue;
        }
        const count = counts.get(finding.name) ?? {
          mismatches: 0,
          example: mismatch.text,
          about: finding.about,
        };
        counts.set(finding.name, { ...count, mismatches: count.mismatches + 1 });
      }
    }
  }
  for (const [name, { mismatches, example, about }] of counts) {
    console.log(`${name}: ${mismatches} mismatches. ${about}\n  First: ${example}`);
  }
  console.log(`${probes} probes, ${unexplained} mismatches unexplained.`);
  return unexplained > 0 ? 1 : 0;
}

process.exitCode = main(process.argv.slice(2));
