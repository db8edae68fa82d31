/**
 * `MODEL[,+feature,-feature...]` as on the command line -> CpuModel. A feature that is removed takes along
 * those of the model that need it, so `opteron,-svm` is enough; one that is added must have what it needs.
 */
import { FEATURES, type FeatureName, featureNamed } from './cpu-features.ts';
import { CPU_MODEL_NAMES, type CpuModel, cpuModelNamed, withFeatures } from './cpu-models.ts';
import { InputError } from './input-error.ts';

/**
 * Throws InputError with a sentence on an unknown name, an unknown feature or a feature that lacks what it
 * needs.
 */
export function parseCpuModel(text: string): CpuModel {
  const [name, ...changes] = text.trim().split(',');
  const model = cpuModelNamed(name);
  if (model === undefined) {
    throw new InputError(
      `There is no CPU model "${name}".${didYouMean(name, CPU_MODEL_NAMES)} Models: ${CPU_MODEL_NAMES.join(', ')}.`,
    );
  }
  if (changes.length === 0) return model;
  const features = new Set(model.features);
  const added = new Set<FeatureName>();
  for (const change of changes) applyChange(model, features, added, change.trim());
  refuseContradiction(changes.map((change) => change.trim()));
  settleDependencies(model, features, added);
  return withFeatures(model, [name, ...changes.map((change) => change.trim())].join(','), features);
}

function refuseContradiction(changes: readonly string[]): void {
  const both = changes.find((change) => change.startsWith('+') && changes.includes(`-${change.slice(1)}`));
  if (both !== undefined)
    throw new InputError(`The CPU feature ${both.slice(1)} is both added and removed; write one of them.`);
}

function applyChange(
  model: CpuModel,
  features: Set<FeatureName>,
  added: Set<FeatureName>,
  change: string,
): void {
  const sign = change[0];
  const name = change.slice(1);
  if ((sign !== '+' && sign !== '-') || name === '') {
    throw new InputError(
      `"${change}" in the CPU model is neither +feature nor -feature; example: ${model.name},-nx.`,
    );
  }
  const feature = featureNamed(name);
  if (feature === undefined) {
    const names = FEATURES.filter(({ implemented }) => implemented).map((known) => known.name);
    throw new InputError(
      `There is no CPU feature "${name}".${didYouMean(name, names)} Features: ${names.join(' ')}.`,
    );
  }
  if (sign === '-') {
    if (name === 'fpu')
      throw new InputError('The feature fpu cannot be removed: every CPU model here has one.');
    features.delete(feature.name);
    added.delete(feature.name);
    return;
  }
  if (!feature.implemented) {
    throw new InputError(`The CPU feature ${name} cannot be added: the processor does not implement it.`);
  }
  if (!model.hasCpuid && !features.has(feature.name)) {
    throw new InputError(
      `The CPU feature ${name} cannot be added to ${model.name}, which has no CPUID to announce it; use pentium or later.`,
    );
  }
  features.add(feature.name);
  added.add(feature.name);
}

function settleDependencies(
  model: CpuModel,
  features: Set<FeatureName>,
  added: ReadonlySet<FeatureName>,
): void {
  for (const name of added) {
    const missing = missingOf(name, features);
    if (missing.length === 0) continue;
    const add = missing.map((needed) => `+${needed}`).join(',');
    throw new InputError(
      `The CPU feature ${name} needs ${missing.join(' and ')}, which ${model.name} would not have here; use ${add} as well.`,
    );
  }
  // What was added has all it needs, so this removes features of the model only.
  for (const name of features) if (missingOf(name, features).length > 0) features.delete(name);
  if (features.has('svm') && model.vendor !== 'AuthenticAMD') {
    throw new InputError(
      `The CPU feature svm is AMD's, but ${model.name} is an Intel model; use athlon64, opteron or current-amd.`,
    );
  }
}

/** All that the feature needs, directly or not, and that the set lacks. */
function missingOf(name: FeatureName, features: ReadonlySet<FeatureName>): FeatureName[] {
  const missing = new Set<FeatureName>();
  const visit = (feature: FeatureName): void => {
    for (const needed of featureNamed(feature)?.needs ?? []) {
      if (!features.has(needed)) missing.add(needed);
      visit(needed);
    }
  };
  visit(name);
  return [...missing];
}

/** ` Did you mean a or b?` for the known names that are near, else nothing. */
function didYouMean(name: string, known: readonly string[]): string {
  const limit = Math.max(1, Math.floor(name.length / 3));
  const near = known
    .map((candidate) => ({ candidate, distance: editDistance(name.toLowerCase(), candidate) }))
    .filter(({ candidate, distance }) => distance <= limit || (name.length > 2 && candidate.startsWith(name)))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ candidate }) => candidate);
  return near.length === 0 ? '' : ` Did you mean ${near.join(' or ')}?`;
}

/** Edit distance that counts a swap of neighbours as one edit (optimal string alignment). */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = rows[i - 1][j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(rows[i - 1][j] + 1, row[j - 1] + 1, replaced);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) row[j] = Math.min(row[j], rows[i - 2][j - 2] + 1);
    }
    rows.push(row);
  }
  return rows[a.length][b.length];
}
