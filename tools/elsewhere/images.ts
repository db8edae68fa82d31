import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exportScenarios } from '../../src/grid/export/export.ts';
import { allScenarios } from '../../src/grid/replay.ts';
import { resultOf } from '../../src/grid/result-of.ts';
import type { CpuFeature, Scenario } from '../../src/grid/scenario.ts';
import { parseScenarios } from '../../src/grid/text/parse.ts';

/** An image, and the processor that its scenarios want: one without these features. */
export interface ImageFile {
  readonly path: string;
  readonly absent: readonly CpuFeature[];
}

const MINIMAL = fileURLToPath(new URL('scenarios/minimal.scenario', import.meta.url));

/** The smallest scenarios for findings that no scenario of the grid shows alone. */
export const minimalScenarios = (): Scenario[] =>
  parseScenarios(readFileSync(MINIMAL, 'utf8'), 'minimal.scenario');

/** Whether some L2 has nested paging at some time. */
export const hasNestedPaging = ({ l2, steps }: Scenario): boolean =>
  Object.values(l2).some((state) => state.nested !== undefined) ||
  steps.some((step) => step.do === 'enter' && typeof step.vmcb?.nested === 'string');

/** What runs on hosts that offer no nested paging. */
export const scenariosWithoutNesting = (): Scenario[] => [
  ...allScenarios().filter((scenario) => !hasNestedPaging(scenario)),
  ...minimalScenarios(),
];

/** Every scenario of the grid, and the smallest ones for findings. */
export const elsewhereScenarios = (): Scenario[] => [...allScenarios(), ...minimalScenarios()];

/** Images of scenarios, one for each processor that they want, for as long as `use` takes. */
export async function withImages<Result>(
  scenarios: readonly Scenario[],
  use: (images: readonly ImageFile[]) => Promise<Result>,
): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'umbra-elsewhere-'));
  try {
    const groups = new Map<string, Scenario[]>();
    for (const scenario of scenarios) {
      const key = (scenario.absent ?? []).join('+');
      groups.set(key, [...(groups.get(key) ?? []), scenario]);
    }
    const images: ImageFile[] = [];
    for (const [key, group] of groups) {
      const path = join(folder, `grid${key}.elf`);
      writeFileSync(path, await resultOf(exportScenarios(group)));
      images.push({ path, absent: group[0].absent ?? [] });
    }
    return await use(images);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
