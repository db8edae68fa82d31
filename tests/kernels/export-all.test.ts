import { beforeAll, describe, expect, it } from 'vitest';
import { allScenarios } from '../../src/grid/replay.ts';
import { type CpuFeature, hostNeeds, type Scenario } from '../../src/grid/scenario.ts';
import { SUITE_FEATURES } from '../../src/guest/suite/format.ts';
import { exported, transcriptOf } from '../grid/export-machine.ts';

const LOADED = 'loaded with CR3';
/** A hypervisor with nested paging looks at what its guest's processor will only read on use. */
const READ_ON_USE = 'read from memory on use and checked by VMRUN';

/** Where the image runs, what is hidden from it there, and where its processor has PDPTEs. */
const HOSTS = [
  { l0: 'none', host: 'pae', hidden: [], pdptes: LOADED },
  { l0: 'shadow', host: 'pae', hidden: ['npt'], pdptes: LOADED },
  { l0: 'npt', host: 'pae', hidden: [], pdptes: READ_ON_USE },
  { l0: 'npt', host: 'nopae', hidden: ['nx'], pdptes: READ_ON_USE },
] as const;

describe('every scenario in one image', () => {
  const scenarios = allScenarios();
  let image: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    image = await exported(scenarios);
  }, 600_000);

  it.each(HOSTS)(
    'passes, or is skipped by name, with --l0 $l0 --host $host',
    { timeout: 300_000 },
    ({ l0, host, hidden, pdptes }) => {
      const { text, exit } = transcriptOf(image, { l0, host });
      expect(text).toBe(passing(scenarios, hidden, pdptes));
      expect(exit).toBe(0);
    },
  );
});

/** What the image prints where everything is as expected: the same, byte for byte, wherever the same is hidden. */
function passing(scenarios: readonly Scenario[], hidden: readonly CpuFeature[], pdptes: string): string {
  const offered = SUITE_FEATURES.map(({ name }) => name).filter((name) => !hidden.includes(name));
  const results = scenarios.map((scenario, index) => {
    const result = `ok ${index + 1} - ${scenario.name}`;
    const skipped = reasonToSkip(scenario, offered);
    return skipped === '' ? `# run ${scenario.name}\n${result}\n` : `${result} # SKIP needs ${skipped}\n`;
  });
  const skips = results.filter((result) => result.includes(' # SKIP ')).length;
  return [
    'TAP version 13\n',
    `# processor: ${offered.join(' ')}, MAXPHYADDR 48, PDPTEs ${pdptes}\n`,
    `1..${results.length}\n`,
    ...results,
    `# ${results.length - skips} ok, 0 not ok, ${skips} skipped\n`,
  ].join('');
}

function reasonToSkip(scenario: Scenario, offered: readonly CpuFeature[]): string {
  const inOrder = (features: readonly CpuFeature[]): string =>
    SUITE_FEATURES.map(({ name }) => name)
      .filter((name) => features.includes(name))
      .join(' ');
  const abilities = hostNeeds(scenario);
  if (abilities.length > 0) return `a host that can ${abilities.join(' and ')}`;
  const missing = inOrder(scenario.features.filter((feature) => !offered.includes(feature)));
  if (missing !== '') return missing;
  const extra = inOrder((scenario.absent ?? []).filter((feature) => offered.includes(feature)));
  return extra === '' ? '' : `a processor without ${extra}`;
}
