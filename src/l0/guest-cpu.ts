/** Which CPU L0 can offer a guest: the processor's features without those that L0 does not virtualise on this host. */
import type { FeatureName } from '../arch/cpu-features.ts';
import { type CpuModel, withFeatures } from '../arch/cpu-models.ts';

/** How L0 translates its guest's addresses: with tables made of the guest's, or with nested tables (APM vol. 2 15.25). */
export type L0Paging = 'shadow' | 'npt';

/** What decides about the offer. */
export interface OfferLimits {
  readonly paging: L0Paging;
  /**
   * L0's nested tables have an NX bit: they are PAE tables and the host runs with EFER.NXE = 1. The format is that of the host
   * (APM vol. 2 15.25.5).
   */
  readonly nestedNx: boolean;
}

/** SVM features that L0 offers no guest: nobody emulates them. */
const NOT_OFFERED: readonly FeatureName[] = [
  'lbrv',
  'avic',
  'v_vmsave_vmload',
  'vgif',
  'pausefilter',
  'pfthreshold',
  'tsc_scale',
  'skinit',
];

/** A feature of a CPU model that L0 cannot offer, and the clause that says why. */
export interface Refusal {
  readonly feature: FeatureName;
  readonly because: string;
}

/** What stands between L0 and a guest CPU of this model; nothing if it can be offered. */
export function refusals(model: CpuModel, limits: OfferLimits): Refusal[] {
  const { features } = model;
  const found: Refusal[] = NOT_OFFERED.filter((feature) => features.has(feature)).map((feature) => ({
    feature,
    because: 'L0 does not virtualise it',
  }));
  if (features.has('npt') && limits.paging === 'shadow') {
    found.push({ feature: 'npt', because: 'L0 has no nested tables of its own to serve them with' });
  }
  // The guest's own tables may have NX: the processor walks those. Nested tables of the guest's are L0's to enforce.
  if (features.has('npt') && features.has('nx') && limits.paging === 'npt' && !limits.nestedNx) {
    found.push({
      feature: 'nx',
      because:
        "the host's paging has no NX bit, so that L0 could not enforce it in the guest's nested tables",
    });
  }
  return found;
}

/** The most of `model` that L0 can offer a guest. */
export function offeredModel(model: CpuModel, limits: OfferLimits): CpuModel {
  const features = new Set(model.features);
  for (const { feature } of refusals(model, limits)) features.delete(feature);
  return withFeatures(model, model.name, features);
}
