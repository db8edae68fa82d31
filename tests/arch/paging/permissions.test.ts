import { describe, expect, it } from 'vitest';
import { RIGHTS } from '../../../src/arch/paging/format.ts';
import {
  ACCESS,
  accessAllowed,
  PAGING_CONTROL,
  pageFaultErrorCode,
  pagingControl,
} from '../../../src/arch/paging/permissions.ts';
import { CR0, CR4, EFER, EFLAGS } from '../../../src/arch/registers.ts';

/**
 * The truth table of SDM vol. 3A 4.6.1, one line per case in the manual's order. A line applies if all conditions that it
 * names hold; the first that applies decides. Upper case: set, lower case: clear.
 *   mode S supervisor, U user; access R read, W write, F fetch;
 *   page: u/U, w/W, x/X (X: no level forbids execution); registers: WP, SMEP, SMAP, NX, AC; IMPL: implicit access.
 */
// biome-ignore format: table
const RULES: readonly (readonly [conditions: string, allowed: boolean])[] = [
  // Data reads in supervisor mode
  ['S R u',                        true],
  ['S R U smap',                   true],
  ['S R U SMAP IMPL',              false],
  ['S R U SMAP impl AC',           true],
  ['S R U SMAP impl ac',           false],
  // Data writes in supervisor mode, to supervisor pages ...
  ['S W u wp',                     true],
  ['S W u WP PW',                  true],
  ['S W u WP pw',                  false],
  // ... and to user pages
  ['S W U SMAP IMPL',              false],
  ['S W U SMAP impl ac',           false],
  ['S W U SMAP impl AC wp',        true],
  ['S W U SMAP impl AC WP PW',     true],
  ['S W U SMAP impl AC WP pw',     false],
  ['S W U smap wp',                true],
  ['S W U smap WP PW',             true],
  ['S W U smap WP pw',             false],
  // Fetches in supervisor mode
  ['S F u nx',                     true],
  ['S F u NX PX',                  true],
  ['S F u NX px',                  false],
  ['S F U SMEP',                   false],
  ['S F U smep nx',                true],
  ['S F U smep NX PX',             true],
  ['S F U smep NX px',             false],
  // User mode
  ['US u',                         false],
  ['US R U',                       true],
  ['US W U PW',                    true],
  ['US W U pw',                    false],
  ['US F U nx',                    true],
  ['US F U NX PX',                 true],
  ['US F U NX px',                 false],
];

interface Case {
  rights: number;
  access: number;
  control: number;
}

/** Facts that hold in a case, in the words of RULES. */
function factsOf({ rights, access, control }: Case): Set<string> {
  const facts = new Set<string>();
  const flag = (name: string, set: boolean): void =>
    void facts.add(set ? name.toUpperCase() : name.toLowerCase());
  facts.add((access & ACCESS.USER) !== 0 ? 'US' : 'S');
  facts.add((access & ACCESS.FETCH) !== 0 ? 'F' : (access & ACCESS.WRITE) !== 0 ? 'W' : 'R');
  flag('impl', (access & ACCESS.IMPLICIT) !== 0);
  flag('u', (rights & RIGHTS.U) !== 0);
  flag('pw', (rights & RIGHTS.W) !== 0);
  flag('px', (rights & RIGHTS.X) !== 0);
  for (const [name, bit] of Object.entries(PAGING_CONTROL)) flag(name, (control & bit) !== 0);
  return facts;
}

function allowedByManual(facts: ReadonlySet<string>): boolean {
  const matching = RULES.filter(([conditions]) => conditions.split(' ').every((word) => facts.has(word)));
  if (matching.length !== 1) throw new Error(`${matching.length} rules for ${[...facts].join(' ')}`);
  return matching[0][1];
}

/** Every access: read, write, fetch by user, supervisor and (data only) implicitly. */
const ACCESSES = [0, ACCESS.WRITE, ACCESS.FETCH].flatMap((kind) => [
  kind,
  kind | ACCESS.USER,
  ...(kind === ACCESS.FETCH ? [] : [kind | ACCESS.IMPLICIT]),
]);

const CASES: Case[] = [];
for (let rights = 0; rights < 8; rights += 1) {
  for (const access of ACCESSES) {
    for (let control = 0; control < 32; control += 1) CASES.push({ rights, access, control });
  }
}

describe('access rights (SDM vol. 3A 4.6.1)', () => {
  it('agree with the truth table in every case', () => {
    expect(CASES).toHaveLength(8 * 8 * 32);
    const wrong = CASES.filter(
      (c) => accessAllowed(c.rights, c.access, c.control) !== allowedByManual(factsOf(c)),
    );
    expect(wrong).toEqual([]);
  });
});

describe('page-fault error code (SDM vol. 3A 4.7, figure 4-12)', () => {
  it.each([
    ['supervisor read, absent', 0, ACCESS.READ, 0, 0x00],
    ['supervisor write, absent', 0, ACCESS.WRITE, 0, 0x02],
    ['user read, absent', 0, ACCESS.USER, 0, 0x04],
    ['user write, rights', 1, ACCESS.USER | ACCESS.WRITE, 0, 0x07],
    ['implicit write, rights', 1, ACCESS.IMPLICIT | ACCESS.WRITE, PAGING_CONTROL.SMAP, 0x03],
    ['user read, reserved bit', 9, ACCESS.USER, 0, 0x0d],
    ['user fetch without NX and SMEP', 1, ACCESS.USER | ACCESS.FETCH, PAGING_CONTROL.SMAP, 0x05],
    ['user fetch, NX', 1, ACCESS.USER | ACCESS.FETCH, PAGING_CONTROL.NX, 0x15],
    ['supervisor fetch, SMEP', 1, ACCESS.FETCH, PAGING_CONTROL.SMEP, 0x11],
    ['fetch, absent, NX', 0, ACCESS.FETCH, PAGING_CONTROL.NX, 0x10],
    ['fetch, reserved bit, NX', 9, ACCESS.FETCH, PAGING_CONTROL.NX, 0x19],
  ] as const)('%s', (_, cause, access, control, code) => {
    expect(pageFaultErrorCode(cause, access, control)).toBe(code);
  });
});

describe('pagingControl', () => {
  it.each([
    ['nothing', 0, 0, 0, 0, 0],
    ['CR0.WP', CR0.WP, 0, 0, 0, PAGING_CONTROL.WP],
    ['CR4.SMEP', 0, CR4.SMEP, 0, 0, PAGING_CONTROL.SMEP],
    ['CR4.SMAP', 0, CR4.SMAP, 0, 0, PAGING_CONTROL.SMAP],
    ['EFLAGS.AC', 0, 0, 0, EFLAGS.AC, PAGING_CONTROL.AC],
    ['EFER.NXE with PAE', 0, CR4.PAE, EFER.NXE, 0, PAGING_CONTROL.NX],
    ['EFER.NXE without PAE', 0, CR4.PSE, EFER.NXE, 0, 0],
    ['CR4.PAE without NXE', 0, CR4.PAE, EFER.SVME, 0, 0],
  ] as const)('%s', (_, cr0, cr4, efer, eflags, control) => {
    expect(pagingControl(cr0, cr4, efer, eflags)).toBe(control);
  });
});
