import { expect, it } from 'vitest';
import { allScenarios } from '../../src/grid/replay.ts';
import { exported, transcriptOf } from '../grid/export-machine.ts';

it('every scenario passes in one image, with the same transcript bare and under L0', {
  timeout: 900_000,
}, async () => {
  const image = await exported(allScenarios());
  const bare = transcriptOf(image);
  expect(bare.lines.filter((line) => line.startsWith('not ok'))).toEqual([]);
  expect(bare.lines.at(-1)).toMatch(/^# \d{3} ok, 0 not ok, \d+ skipped$/);
  expect(bare.exit).toBe(0);
  const withoutNpt = transcriptOf(image, { cpu: 'current-amd,-npt' });
  expect(withoutNpt.exit).toBe(0);
  // Shadow paging offers its guests no nested paging.
  const hosted = transcriptOf(image, { l0: 'shadow' });
  expect(hosted.text).toBe(withoutNpt.text);
  expect(hosted.exit).toBe(0);
});
