import { describe, expect, it } from 'vitest';
import type { FeatureName } from '../../src/arch/cpu-features.ts';
import { cpuModelNamed, withFeatures } from '../../src/arch/cpu-models.ts';
import { type OfferLimits, offeredModel, refusals } from '../../src/l0/guest-cpu.ts';

const SHADOW: OfferLimits = { paging: 'shadow', nestedNx: true };
const NPT: OfferLimits = { paging: 'npt', nestedNx: true };
const NPT_WITHOUT_NX: OfferLimits = { paging: 'npt', nestedNx: false };

const base = cpuModelNamed('opteron')!;
const model = (...more: FeatureName[]) =>
  withFeatures(base, 'host', new Set<FeatureName>([...base.features, ...more]));
const has = (limits: OfferLimits, features: FeatureName[], name: FeatureName): boolean =>
  offeredModel(model(...features), limits).features.has(name);

describe('what L0 offers its guests', () => {
  it('has nested paging only where L0 itself uses it', () => {
    expect(has(SHADOW, ['npt'], 'npt')).toBe(false);
    expect(has(NPT, ['npt'], 'npt')).toBe(true);
    expect(has(NPT_WITHOUT_NX, ['npt'], 'npt')).toBe(true);
  });

  it("has no NX where the guest's nested tables could ask for it and L0's could not say it", () => {
    expect(has(NPT, ['npt', 'nx'], 'nx')).toBe(true);
    expect(has(NPT_WITHOUT_NX, ['npt', 'nx'], 'nx')).toBe(false);
    expect(has({ paging: 'shadow', nestedNx: false }, ['npt', 'nx'], 'nx')).toBe(true);
  });

  it('keeps NX for a guest that has no nested paging to use it in', () => {
    const { features } = offeredModel(
      withFeatures(base, 'host', new Set([...base.features].filter((name) => name !== 'npt'))),
      NPT_WITHOUT_NX,
    );
    expect(features.has('nx')).toBe(true);
    expect(features.has('npt')).toBe(false);
  });

  it('never has what nobody emulates', () => {
    const greedy = model('npt', 'lbrv', 'vgif', 'skinit');
    for (const limits of [SHADOW, NPT, NPT_WITHOUT_NX]) {
      expect(refusals(greedy, limits).map(({ feature }) => feature)).toEqual(
        expect.arrayContaining(['lbrv', 'vgif', 'skinit']),
      );
      expect(refusals(offeredModel(greedy, limits), limits)).toEqual([]);
    }
  });

  it('says why', () => {
    const because = (limits: OfferLimits, features: FeatureName[]) =>
      refusals(model(...features), limits).map((refusal) => `${refusal.feature}: ${refusal.because}`);
    expect(because(SHADOW, ['npt'])).toEqual(['npt: L0 has no nested tables of its own to serve them with']);
    expect(because(NPT_WITHOUT_NX, ['npt', 'nx'])[0]).toMatch(/^nx: .*no NX bit/);
  });
});
