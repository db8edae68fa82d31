import { InputError } from '../../arch/input-error.ts';
import { SUITE_FEATURES } from '../../guest/suite/format.ts';
import { type SuiteScenario, suiteImage } from '../../guest/suite/program.ts';
import { SCENARIO_MEMORY } from '../placement.ts';
import type { GridProgress } from '../run-grid.ts';
import { type CpuFeature, highestAsid, hostNeeds, type Scenario } from '../scenario.ts';
import { scenarioBlock } from './block.ts';
import { packLz4 } from './lz4.ts';

/**
 * One multiboot image that runs scenarios one after another on any machine with SVM, judges them by the oracle's
 * expectations, which it carries, and prints TAP on COM1. It lies beyond what scenarios use, at 64 MiB. Yields after each
 * scenario.
 * @throws InputError for a scenario that cannot be compiled or exported, and for two of one name
 */
export async function* exportScenarios(
  scenarios: readonly Scenario[],
): AsyncGenerator<GridProgress, Uint8Array<ArrayBuffer>> {
  const prepared: SuiteScenario[] = [];
  const names = new Set<string>();
  for (const scenario of scenarios) {
    if (names.has(scenario.name)) throw new InputError(`There are two scenarios "${scenario.name}".`);
    names.add(scenario.name);
    prepared.push(exportScenario(scenario));
    yield { done: prepared.length, total: scenarios.length };
  }
  return suiteImage(SCENARIO_MEMORY, prepared);
}

const MOST_ASIDS = 0xffff_ffff;

/** Prepares one scenario for an image. */
function exportScenario(scenario: Scenario): SuiteScenario {
  const described = {
    name: scenario.name,
    needs: featureBits(scenario, scenario.features),
    lacks: featureBits(scenario, scenario.absent ?? []),
    // 32 bits; no processor has so many.
    asids: Math.min(highestAsid(scenario) + 1, MOST_ASIDS),
  };
  const abilities = hostNeeds(scenario);
  if (abilities.length > 0) {
    const impossible = `a host that can ${abilities.join(' and ')}`;
    return { ...described, maxBits: 0, packed: new Uint8Array(0), unpackedSize: 0, impossible };
  }
  const { bytes, maxBits } = scenarioBlock(scenario);
  return { ...described, maxBits, packed: packLz4(bytes), unpackedSize: bytes.length };
}

function featureBits({ name }: Scenario, features: readonly CpuFeature[]): number {
  return features.reduce((bits, wanted) => {
    const index = SUITE_FEATURES.findIndex((feature) => feature.name === wanted);
    if (index >= 0) return bits | (1 << index);
    const known = SUITE_FEATURES.map((feature) => feature.name).join(', ');
    throw new InputError(
      `Scenario "${name}" is about ${wanted}, which an exported image does not look for; it knows ${known}.`,
    );
  }, 0);
}
