/**
 * The context: what follows from the two roles of an MMU. Formats and control bits are looked up by role, so that a context
 * is right exactly if its roles are, and a changed role cannot leave an old walker behind.
 */
import { fiveLevelFormat } from '../../arch/paging/five-level.ts';
import type { PagingFeatures, PagingFormat } from '../../arch/paging/format.ts';
import { fourLevelFormat } from '../../arch/paging/four-level.ts';
import { paeFormat } from '../../arch/paging/pae.ts';
import { PAGING_CONTROL } from '../../arch/paging/permissions.ts';
import { twoLevelFormat } from '../../arch/paging/two-level.ts';
import type { Cause, Rules } from '../rules.ts';
import {
  EXTENDED,
  type ExtendedRole,
  has4ByteGpte,
  isDirect,
  type PageRole,
  ROLE,
  roleLevel,
} from './role.ts';

/** The guest's formats on one CPU model: the features are fixed, EFER.NXE and CR4.PSE choose between variants. */
export class GuestFormats {
  readonly #twoLevel: readonly [PagingFormat, PagingFormat];
  readonly #pae: readonly [PagingFormat, PagingFormat];
  readonly #fourLevel: readonly [PagingFormat, PagingFormat];
  readonly #fiveLevel: readonly [PagingFormat, PagingFormat];

  /** @param features of the VM's CPU model, not of the processor below: they say which bits the *guest* finds reserved */
  constructor(features: PagingFeatures) {
    const nx = [
      { ...features, nx: false },
      { ...features, nx: true },
    ] as const;
    this.#twoLevel = [twoLevelFormat(false, features), twoLevelFormat(true, features)];
    this.#pae = [paeFormat(nx[0]), paeFormat(nx[1])];
    this.#fourLevel = [fourLevelFormat(nx[0]), fourLevelFormat(nx[1])];
    this.#fiveLevel = [fiveLevelFormat(nx[0]), fiveLevelFormat(nx[1])];
  }

  /** Format of a cpu role; null with paging off. */
  of(base: PageRole): PagingFormat | null {
    const nx = (base & ROLE.EFER_NX) !== 0 ? 1 : 0;
    switch (roleLevel(base)) {
      case 2:
        return this.#twoLevel[(base & ROLE.CR4_PSE) !== 0 ? 1 : 0];
      case 3:
        return this.#pae[nx];
      case 4:
        return this.#fourLevel[nx];
      case 5:
        return this.#fiveLevel[nx];
      default:
        return null;
    }
  }

  /** The PAE format, for the check of PDPTEs. NX does not matter in those. */
  get pae(): PagingFormat {
    return this.#pae[1];
  }
}

/** PAGING_CONTROL bits of a cpu role; EFLAGS.AC is added per access. */
export function controlOf(base: PageRole, extended: ExtendedRole): number {
  let control = 0;
  if ((base & ROLE.CR0_WP) !== 0) control |= PAGING_CONTROL.WP;
  if ((extended & EXTENDED.CR4_SMEP) !== 0) control |= PAGING_CONTROL.SMEP;
  if ((extended & EXTENDED.CR4_SMAP) !== 0) control |= PAGING_CONTROL.SMAP;
  if ((base & ROLE.EFER_NX) !== 0 && !has4ByteGpte(base)) control |= PAGING_CONTROL.NX;
  return control;
}

/** The registers of the guest that roles are made of. A vCPU is one; CR3 and PDPTEs are here for the walk. */
export interface GuestPagingRegisters {
  readonly cr0: number;
  readonly cr3: number;
  readonly cr4: number;
  /** Low half of EFER. */
  readonly efer: number;
  /** The guest is L2. */
  readonly guestMode: boolean;
  /** The four cached PDPTEs as {lo, hi} pairs. */
  readonly pdptes: Uint32Array;
}

/** Roles of an MMU and what is looked up by them. */
export class MmuContext {
  readonly formats: GuestFormats;
  readonly registers: GuestPagingRegisters;
  readonly #rules: Rules;
  cpuBase: PageRole = 0 as PageRole;
  cpuExtended: ExtendedRole = 0 as ExtendedRole;
  rootRole: PageRole = 0 as PageRole;
  /** Null with paging off. */
  format: PagingFormat | null = null;
  control = 0;

  constructor(formats: GuestFormats, registers: GuestPagingRegisters, rules: Rules) {
    this.formats = formats;
    this.registers = registers;
    this.#rules = rules;
  }

  /** Computes the roles anew. False, with nothing touched, if they are what they were. */
  update(cause: Cause): boolean {
    const rules = this.#rules;
    const { cr0, cr4, efer, guestMode } = this.registers;
    const base = rules.cpuRoleBase(cr0, cr4, efer, guestMode);
    const extended = rules.cpuRoleExtended(cr0, cr4, efer);
    if (!rules.roleChanged(cause, this.cpuBase, this.cpuExtended, base, extended)) return false;
    this.cpuBase = base;
    this.cpuExtended = extended;
    this.rootRole = rules.shadowRootRole(base);
    this.format = this.formats.of(base);
    this.control = rules.permissionControl(base, extended);
    return true;
  }

  get direct(): boolean {
    return isDirect(this.rootRole);
  }
}
