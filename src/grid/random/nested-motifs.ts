import fc from 'fast-check';
import type { EnterStep, Step } from '../scenario.ts';
import { edit, oneOf } from './edits.ts';
import { leave, NestedScene, type Setting, type Steps } from './nested-scene.ts';
import { seenAt } from './nested-shape.ts';
import { asids, flat, hostFlag, roots, unpaged, way } from './nested-visits.ts';
import { lead, reads, SETTLED, write } from './nested-ways.ts';
import { storeAt } from './probes.ts';
import { linearAddress, type NestedGround, otherHalf, rootOf, type Shape } from './shape.ts';

/**
 * A few steps that belong together, about one linear page, one L2-physical page and the entries of both stages on the way to
 * them.
 */
export function nestedMotifsAt(ground: Shape, nested: NestedGround, enter: fc.Arbitrary<EnterStep>): Steps {
  const setting: fc.Arbitrary<Setting> = fc.record({
    linear: fc.constantFrom(...ground.linear),
    behind: fc.constantFrom(...nested.pages),
    mode: fc.constantFrom('2-level', '2-level+PSE', 'PAE', 'PAE'),
    root: fc.constantFrom(...ground.roots),
    nestedRoot: fc.constantFrom(...nested.roots),
    other: fc.constantFrom(...nested.roots),
    data: fc.constantFrom(...ground.data),
    otherData: fc.constantFrom(...ground.data, ...ground.frames),
    visit: enter,
  });
  return setting.chain((drawn) => {
    const scene = new NestedScene(ground, nested, drawn);
    return oneOf<Step[]>([
      [4, rights(scene)],
      [4, edited(scene)],
      [2, editedInside(scene)],
      [2, tableBehind(scene)],
      [2, dirty(scene)],
      [2, way(scene)],
      [2, roots(scene)],
      [2, pdptes(scene)],
      [2, aims(scene)],
      [3, hostFlag(scene)],
      [3, flat(scene)],
      [2, asids(scene)],
      [1, unpaged(scene)],
      [1, rootBehind(scene)],
    ]);
  });
}

/** Rights of the nested entries, which hold in every mode of L2 and for every kind of access. */
function rights(scene: NestedScene): Steps {
  return fc
    .record({
      leaf: scene.leaf,
      above: scene.directory,
      first: scene.look,
      second: scene.look,
      third: scene.fetch,
    })
    .map(({ leaf, above, first, second, third }) => [
      ...scene.leadBoth(scene.drawn.data, leaf, above),
      scene.enter({ tlbControl: 'asid' }),
      first,
      third,
      second,
      leave,
      ...reads(scene.host),
    ]);
}

/** L1 edits nested tables between two visits, with a flush or without. */
function edited(scene: NestedScene): Steps {
  return fc
    .record({
      prepared: fc.boolean(),
      first: scene.look,
      change: scene.nestedEdit,
      back: scene.back,
      second: scene.look,
      third: scene.fetch,
    })
    .map(({ prepared, first, change, back, second, third }) => [
      ...(prepared ? [...scene.leadBoth(scene.drawn.data), scene.enter()] : [scene.drawn.visit]),
      first,
      leave,
      change,
      back,
      second,
      third,
      leave,
      ...reads(scene.host),
    ]);
}

/** L2 edits them, which it knows where to find, and perhaps invalidates, which reaches its own tables alone. */
function editedInside(scene: NestedScene): Steps {
  const at = linearAddress(scene.drawn.linear);
  const drop = fc.constantFrom<Step[]>([], [{ do: 'invlpg', at }], [{ do: 'reload-cr3' }]);
  return fc
    .record({
      first: scene.look,
      change: scene.nestedEdit,
      drop,
      second: scene.look,
      back: scene.back,
      third: scene.look,
    })
    .map(({ first, change, drop: dropped, second, back, third }) => [
      ...scene.leadBoth(scene.drawn.data),
      scene.enter(),
      first,
      change,
      ...dropped,
      second,
      leave,
      back,
      third,
      leave,
    ]);
}

/** A table of L2 behind a nested entry that is read-only at first, or not even that: every walk is a write to it. */
function tableBehind(scene: NestedScene): Steps {
  return fc
    .record({
      before: fc.constantFrom('P U A D', 'P U', 'P W U', ''),
      first: scene.look,
      back: scene.back,
      second: scene.look,
    })
    .map(({ before, first, back, second }) => [
      ...lead(scene.guest, scene.drawn.data),
      ...lead(scene.host, scene.guest.leaf.page, before),
      write(scene.guest.directory, { to: linearAddress(scene.drawn.behind), flags: 'P W U A' }),
      scene.enter(),
      first,
      leave,
      write(scene.host.leaf, { to: scene.guest.leaf.page, flags: SETTLED }),
      back,
      second,
      leave,
      ...reads(scene.host),
    ]);
}

/** Dirty flags of nested entries: set by a store, cleared by L1, and perhaps set again. */
function dirty(scene: NestedScene): Steps {
  const store = storeAt(linearAddress(scene.drawn.linear));
  return fc
    .record({ look: scene.look, first: store, back: scene.back, second: store })
    .map(({ look, first, back, second }) => [
      ...scene.leadBoth(scene.drawn.data, 'P W U A'),
      scene.enter(),
      look,
      first,
      leave,
      ...reads(scene.host),
      write(scene.host.leaf, { to: scene.drawn.data, flags: 'P W U A' }),
      back,
      second,
      leave,
      ...reads(scene.host),
    ]);
}

/** PDPTEs of either stage: nested walks read both from memory (APM vol. 2 15.25.10). */
function pdptes(scene: NestedScene): Steps {
  const slots = [scene.guest.pdpte, scene.host.pdpte].filter((slot) => slot !== undefined);
  if (slots.length === 0) return edited(scene);
  return fc
    .record({
      change: edit(scene.ground, fc.constantFrom(...slots)),
      inside: fc.boolean(),
      first: scene.look,
      second: scene.look,
      back: scene.back,
    })
    .map(({ change, inside, first, second, back }) => [
      ...scene.leadBoth(scene.drawn.data),
      scene.enter(),
      first,
      ...(inside ? [change, second, { do: 'reload-cr3' } as const] : [leave, change, back]),
      second,
      leave,
    ]);
}

/** One linear page leads to one L2-physical page after another: other quarters and halves of the nested tables. */
function aims(scene: NestedScene): Steps {
  const at = linearAddress(scene.drawn.linear);
  const { behind } = scene.drawn;
  const others = fc.constantFrom(
    ...scene.nested.pages,
    ...scene.ground.linear,
    { ...behind, page: otherHalf(behind.page) },
    { ...behind, gib: (behind.gib % 3) + 1 },
  );
  return fc
    .record({ other: others, leaf: scene.leaf, first: scene.look, second: scene.look })
    .map(({ other, leaf, first, second }) => [
      ...scene.leadBoth(scene.drawn.data),
      ...lead(scene.hostWay(other, scene.drawn.nestedRoot), scene.drawn.otherData, leaf),
      scene.enter({ tlbControl: 'asid' }),
      first,
      write(scene.guest.leaf, { to: linearAddress(other), flags: SETTLED }),
      { do: 'invlpg', at },
      second,
      leave,
    ]);
}

/** L2's root itself is behind a nested entry, which has to let the agent through. */
function rootBehind(scene: NestedScene): Steps {
  const { root, behind } = scene.drawn;
  return fc
    .record({ first: scene.look, change: scene.nestedEdit, second: scene.look })
    .map(({ first, change, second }) => [
      ...lead(scene.guest, scene.drawn.data),
      ...lead(scene.host, root),
      scene.enter({ root: rootOf(seenAt(root, behind)), tlbControl: 'all' }),
      first,
      change,
      second,
      { do: 'load-cr3', root: rootOf(root) },
      second,
      leave,
    ]);
}
