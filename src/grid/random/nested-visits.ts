/** Motifs about what L1 changes between visits beside its tables. */
import fc from 'fast-check';
import type { Step, VmcbChanges } from '../scenario.ts';
import { leave, type NestedScene, type Steps } from './nested-scene.ts';
import { lead, SETTLED, write } from './nested-ways.ts';
import { probe } from './probes.ts';
import { linearAddress, otherHalf, rootOf } from './shape.ts';

/** Registers of L1 whose bits VMRUN keeps for the nested walk, or must not let it see (APM vol. 2 15.25.4). */
const HOST_FLAGS = [
  'CR4.PSE',
  'CR4.PSE',
  'EFER.NX',
  'EFER.NX',
  'CR4.PAE',
  'CR4.PGE',
  'CR4.SMEP',
  'CR4.SMAP',
  'CR0.WP',
] as const;

/** The same L2 with nested tables and with L1's own, under one ASID or another. */
export function way(scene: NestedScene): Steps {
  const change = fc.constantFrom<VmcbChanges>({}, { asid: 2 }, { tlbControl: 'asid' }, { tlbControl: 'all' });
  return fc
    .record({ change, first: scene.look, second: scene.look, third: scene.look, nestedFirst: fc.boolean() })
    .map(({ change: changes, first, second, third, nestedFirst }) => {
      const plain: Step = { do: 'enter', l2: scene.drawn.visit.l2, vmcb: { ...changes, nested: false } };
      const [one, other] = nestedFirst ? [scene.enter(), plain] : [plain, scene.enter(changes)];
      return [
        ...scene.leadBoth(scene.drawn.data),
        one,
        first,
        leave,
        other,
        second,
        leave,
        one,
        third,
        leave,
      ];
    });
}

/** Two sets of nested tables that lead to different pages, in turn. */
export function roots(scene: NestedScene): Steps {
  const { other, behind, otherData } = scene.drawn;
  const change = fc.constantFrom<VmcbChanges>({}, { asid: 3 }, { tlbControl: 'asid' }, { tlbControl: 'all' });
  return fc
    .record({ change, first: scene.look, second: scene.look, third: scene.look })
    .map(({ change: changes, first, second, third }) => [
      ...scene.leadBoth(scene.drawn.data),
      write(scene.hostWay(behind, other).directory, { to: otherData, flags: 'P W U A' }),
      scene.enter(),
      first,
      leave,
      scene.enter({ ...changes, nested: rootOf(other) }),
      second,
      leave,
      scene.enter(changes),
      third,
      leave,
    ]);
}

/** A register of L1 changes between two visits, and back; the nested entries show it. */
export function hostFlag(scene: NestedScene): Steps {
  const { frames } = scene.ground;
  return fc
    .record({
      flag: fc.constantFrom(...HOST_FLAGS),
      value: fc.boolean(),
      flush: fc.constantFrom<VmcbChanges>(
        {},
        { tlbControl: 'asid' },
        { tlbControl: 'asid' },
        { tlbControl: 'all' },
      ),
      first: scene.look,
      second: scene.fetch,
      third: scene.look,
    })
    .map(({ flag, value, flush, first, second, third }) => {
      const leaf = flag === 'EFER.NX' && scene.host.wide ? 'P W U A D NX' : SETTLED;
      const large: Step[] =
        flag === 'CR4.PSE' ? [write(scene.host.directory, { to: frames[0], flags: 'P W U A D PS' })] : [];
      return [
        ...scene.leadBoth(scene.drawn.data, leaf),
        ...large,
        scene.enter(flush),
        first,
        second,
        leave,
        { do: 'set', flag, value },
        scene.enter(flush),
        second,
        third,
        leave,
        { do: 'set', flag, value: !value },
        scene.enter(flush),
        second,
        leave,
      ];
    });
}

/** L2 without paging of its own, whose addresses show the nested tables as they are: both halves of a directory entry. */
export function flat(scene: NestedScene): Steps {
  const { behind, data, otherData } = scene.drawn;
  const half = { ...behind, page: otherHalf(behind.page) };
  const [here, there] = [behind, half].map((page) => probe(fc.constant(linearAddress(page))));
  return fc
    .record({
      leaf: scene.leaf,
      first: here,
      second: there,
      change: scene.nestedEdit,
      back: scene.back,
      third: here,
      fourth: there,
    })
    .map(({ leaf, first, second, change, back, third, fourth }) => [
      ...lead(scene.host, data),
      ...lead(scene.hostWay(half, scene.drawn.nestedRoot), otherData, leaf),
      scene.enter({ mode: 'off' }),
      first,
      second,
      leave,
      change,
      back,
      third,
      fourth,
      leave,
    ]);
}

/** Another ASID, or INVLPGA in the same, behind an edit of either stage. */
export function asids(scene: NestedScene): Steps {
  const at = linearAddress(scene.drawn.linear);
  const { otherData } = scene.drawn;
  const drop = fc.constantFrom<Step[]>(
    [],
    [{ do: 'invlpga', at, asid: 1 }],
    [{ do: 'invlpga', at, asid: 1 }],
  );
  return fc
    .record({
      host: fc.boolean(),
      drop,
      asid: fc.constantFrom(1, 1, 4, 5),
      first: scene.look,
      second: scene.look,
    })
    .map(({ host, drop: dropped, asid, first, second }) => [
      ...scene.leadBoth(scene.drawn.data),
      scene.enter({ asid: 1 }),
      first,
      leave,
      write(host ? scene.host.leaf : scene.guest.leaf, { to: otherData, flags: SETTLED }),
      ...dropped,
      scene.enter({ asid }),
      second,
      leave,
    ]);
}

/** L2 turns its paging off and on: its linear addresses are then physical ones, translated all the same. */
export function unpaged(scene: NestedScene): Steps {
  const behind = probe(fc.constant(linearAddress(scene.drawn.behind)));
  return fc
    .record({ first: scene.look, second: scene.look, third: behind })
    .map(({ first, second, third }) => [
      scene.drawn.visit,
      { do: 'set', flag: 'CR0.PG', value: false },
      first,
      third,
      { do: 'set', flag: 'CR0.PG', value: true },
      second,
      leave,
    ]);
}
