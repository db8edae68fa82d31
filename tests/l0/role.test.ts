import { describe, expect, it } from 'vitest';
import { RIGHTS } from '../../src/arch/paging/format.ts';
import { CR0, CR4, EFER } from '../../src/arch/registers.ts';
import {
  agreesWithRoot,
  childRole,
  cpuRoleBase,
  cpuRoleExtended,
  EXTENDED,
  extendedRoleString,
  has4ByteGpte,
  isDirect,
  isGuestMode,
  paeDirectoryRole,
  ROLE,
  roleAccess,
  roleLevel,
  roleQuadrant,
  roleString,
  shadowRootRole,
} from '../../src/l0/mmu/role.ts';
import { SHADOW_FORMAT } from '../../src/l0/mmu/table-format.ts';

const PROTECTED = CR0.PE | CR0.ET;
const PAGING = (PROTECTED | CR0.PG | CR0.WP) >>> 0;
const base = (cr0: number, cr4: number, efer = 0, l2 = false) => cpuRoleBase(cr0, cr4, efer, l2);

describe('the cpu role', () => {
  it('has the level of each paging mode (SDM vol. 3A table 4-1)', () => {
    expect(roleLevel(base(PROTECTED, CR4.PAE))).toBe(0);
    expect(roleLevel(base(PAGING, 0))).toBe(2);
    expect(roleLevel(base(PAGING, CR4.PSE))).toBe(2);
    expect(roleLevel(base(PAGING, CR4.PAE))).toBe(3);
    expect(roleLevel(base(PAGING, CR4.PAE, EFER.LME | EFER.LMA))).toBe(4);
    expect(roleLevel(base(PAGING, CR4.PAE | CR4.LA57, EFER.LME | EFER.LMA))).toBe(5);
  });

  it('is one for all contexts without paging, but for guest mode', () => {
    const off = base(PROTECTED, 0);
    expect(isDirect(off)).toBe(true);
    expect(base(CR0.ET, CR4.PAE | CR4.SMEP | CR4.PSE, EFER.NXE)).toBe(off);
    expect(base(PROTECTED, 0, 0, true)).not.toBe(off);
    expect(isGuestMode(base(PROTECTED, 0, 0, true))).toBe(true);
    expect(cpuRoleExtended(PROTECTED, CR4.SMEP | CR4.PSE, 0)).toBe(EXTENDED.VALID);
  });

  it('tells 4-byte from 8-byte entries by CR4.PAE', () => {
    expect(has4ByteGpte(base(PAGING, 0))).toBe(true);
    expect(has4ByteGpte(base(PAGING, CR4.PAE))).toBe(false);
  });

  it('takes SMEP and SMAP into the base part only where CR0.WP is clear', () => {
    const smep = CR4.SMEP | CR4.SMAP;
    const noWp = (PAGING & ~CR0.WP) >>> 0;
    expect(base(PAGING, smep)).toBe(base(PAGING, 0));
    expect(base(noWp, CR4.SMEP) ^ base(noWp, 0)).toBe(ROLE.SMEP_ANDNOT_WP);
    expect(base(noWp, CR4.SMAP) ^ base(noWp, 0)).toBe(ROLE.SMAP_ANDNOT_WP);
    expect(cpuRoleExtended(PAGING, smep, 0)).toBe(EXTENDED.VALID | EXTENDED.CR4_SMEP | EXTENDED.CR4_SMAP);
  });

  // Every bit that changes what a shadow page contains must change its key.
  it.each([
    ['CR0.WP', () => base((PAGING & ~CR0.WP) >>> 0, 0)],
    ['EFER.NXE', () => base(PAGING, 0, EFER.NXE)],
    ['CR4.PSE of a 2-level guest', () => base(PAGING, CR4.PSE)],
    ['CR4.PAE', () => base(PAGING, CR4.PAE)],
    ['guest mode', () => base(PAGING, 0, 0, true)],
  ])('changes with %s', (_name, role) => {
    expect(shadowRootRole(role())).not.toBe(shadowRootRole(base(PAGING, 0)));
    expect(agreesWithRoot(role(), base(PAGING, 0))).toBe(false);
  });

  it('does not change with CR4.PSE under PAE paging, which ignores it', () => {
    expect(base(PAGING, CR4.PAE | CR4.PSE)).toBe(base(PAGING, CR4.PAE));
    expect(cpuRoleExtended(PAGING, CR4.PAE | CR4.PSE, 0)).toBe(EXTENDED.VALID | EXTENDED.CR4_PSE);
  });

  it('knows PKE and LA57 in long mode only', () => {
    const bits = CR4.PAE | CR4.PKE | CR4.LA57;
    expect(cpuRoleExtended(PAGING, bits, 0)).toBe(EXTENDED.VALID);
    expect(cpuRoleExtended(PAGING, bits, EFER.LMA)).toBe(
      EXTENDED.VALID | EXTENDED.EFER_LMA | EXTENDED.CR4_PKE | EXTENDED.CR4_LA57,
    );
  });
});

describe('the roles of shadow pages', () => {
  const twoLevel = shadowRootRole(base(PAGING, 0));
  const pae = shadowRootRole(base(PAGING, CR4.PAE, EFER.NXE));

  it('start at three levels for every 32-bit guest', () => {
    for (const cpu of [base(PROTECTED, 0), base(PAGING, 0), base(PAGING, CR4.PAE)]) {
      expect(roleLevel(shadowRootRole(cpu))).toBe(3);
    }
    expect(roleLevel(shadowRootRole(base(PAGING, CR4.PAE, EFER.LMA)))).toBe(4);
  });

  it('give the one page directory of a 2-level guest four quadrants', () => {
    expect([0, 1, 2, 3].map((i) => roleQuadrant(paeDirectoryRole(twoLevel, i)))).toEqual([0, 1, 2, 3]);
    expect([0, 1, 2, 3].map((i) => roleQuadrant(paeDirectoryRole(pae, i)))).toEqual([0, 0, 0, 0]);
    const direct = shadowRootRole(base(PROTECTED, 0));
    expect([0, 3].map((i) => roleQuadrant(paeDirectoryRole(direct, i)))).toEqual([0, 0]);
  });

  it('give a 2-level page table two quadrants, by the directory entry', () => {
    const directory = paeDirectoryRole(twoLevel, 2);
    expect(roleQuadrant(childRole(directory, false, RIGHTS.ALL, 6, SHADOW_FORMAT))).toBe(0);
    expect(roleQuadrant(childRole(directory, false, RIGHTS.ALL, 7, SHADOW_FORMAT))).toBe(1);
    expect(roleQuadrant(childRole(paeDirectoryRole(pae, 2), false, RIGHTS.ALL, 7, SHADOW_FORMAT))).toBe(0);
  });

  it('pass everything on but level, access, directness and quadrant', () => {
    const directory = paeDirectoryRole(pae, 1);
    const child = childRole(directory, false, RIGHTS.U | RIGHTS.X, 3, SHADOW_FORMAT);
    expect(roleLevel(child)).toBe(1);
    expect(roleAccess(child)).toBe(RIGHTS.U | RIGHTS.X);
    expect(agreesWithRoot(child, pae)).toBe(true);
    expect(isDirect(childRole(directory, true, RIGHTS.ALL, 3, SHADOW_FORMAT))).toBe(true);
  });

  it('print as the kernel traces them', () => {
    const guest = cpuRoleBase((PAGING & ~CR0.WP) >>> 0, CR4.SMEP, 0, true);
    const table = childRole(
      paeDirectoryRole(shadowRootRole(guest), 1),
      false,
      RIGHTS.W | RIGHTS.U,
      5,
      SHADOW_FORMAT,
    );
    expect(roleString(table)).toBe('l1 4-byte q1 wu- !nxe ad !wp !pse smep&!wp guest_mode');
    expect(roleString(pae)).toBe('l3 8-byte q0 wux nxe ad wp');
    expect(roleString(paeDirectoryRole(shadowRootRole(base(PROTECTED, 0)), 0))).toBe(
      'l2 8-byte q0 direct wux !nxe ad !wp',
    );
    expect(extendedRoleString(cpuRoleExtended(PAGING, CR4.PSE | CR4.SMAP, 0))).toBe('pse smap');
    expect(extendedRoleString(cpuRoleExtended(PAGING, 0, 0))).toBe('-');
  });
});
