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
import type { TableFormat } from './table-format.ts';

/** The guest's formats on one CPU model: the features are fixed, EFER.NXE and CR4.PSE choose between variants. */
export class GuestFormats {
  readonly #twoLevel: readonly [PagingFormat, PagingFormat];
  readonly #pae: readonly [PagingFormat, PagingFormat];
  readonly #paeInMemory: readonly [PagingFormat, PagingFormat];
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
    this.#paeInMemory = [paeFormat(nx[0], true), paeFormat(nx[1], true)];
    this.#fourLevel = [fourLevelFormat(nx[0]), fourLevelFormat(nx[1])];
    this.#fiveLevel = [fiveLevelFormat(nx[0]), fiveLevelFormat(nx[1])];
  }

  /**
   * Format of a cpu role; null with paging off.
   *
   * @param pdptesInMemory PAE paging reads PDPTEs on use, as it does with nested paging (APM vol. 2 15.25.10): those of a guest
   *                       that runs on nested tables, and those of nested tables
   */
  of(base: PageRole, pdptesInMemory: boolean): PagingFormat | null {
    const nx = (base & ROLE.EFER_NX) !== 0 ? 1 : 0;
    switch (roleLevel(base)) {
      case 2:
        return this.#twoLevel[(base & ROLE.CR4_PSE) !== 0 ? 1 : 0];
      case 3:
        return (pdptesInMemory ? this.#paeInMemory : this.#pae)[nx];
      case 4:
        return this.#fourLevel[nx];
      case 5:
        return this.#fiveLevel[nx];
      default:
        return null;
    }
  }

  /** The 2-level format with large pages. */
  get twoLevel(): PagingFormat {
    return this.#twoLevel[1];
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

/**
 * What an MMU makes of guest tables:
 *
 * - `shadow`: its tables translate linear addresses; they shadow the guest's, or map its memory as it is while paging is off.
 * - `direct`: nested tables that map guest-physical memory as it is, for L1 and for an L2 whose L1 uses shadow paging. The
 *   guest's own tables are the processor's business.
 * - `nested`: nested tables that shadow L1's nested tables, for an L2 that L1 runs with nested paging.
 */
export type MmuKind = 'shadow' | 'direct' | 'nested';

/** Roles of an MMU and what is looked up by them. */
export class MmuContext {
  readonly kind: MmuKind;
  readonly formats: GuestFormats;
  readonly registers: GuestPagingRegisters;
  /** Of L0's tables. */
  readonly tableFormat: TableFormat;
  readonly #rules: Rules;
  cpuBase: PageRole = 0 as PageRole;
  cpuExtended: ExtendedRole = 0 as ExtendedRole;
  rootRole: PageRole = 0 as PageRole;
  /** Of the tables that `walk` goes through: the guest's own, L1's nested ones for `nested`. Null with paging off. */
  format: PagingFormat | null = null;
  control = 0;

  constructor(
    formats: GuestFormats,
    registers: GuestPagingRegisters,
    rules: Rules,
    kind: MmuKind,
    tableFormat: TableFormat,
  ) {
    this.kind = kind;
    this.formats = formats;
    this.registers = registers;
    this.tableFormat = tableFormat;
    this.#rules = rules;
  }

  /** Computes the roles anew. False, with nothing touched, if they are what they were. */
  update(cause: Cause): boolean {
    const rules = this.#rules;
    const { kind } = this;
    const { cr0, cr4, efer, guestMode } = this.registers;
    const nested = kind === 'nested';
    const base = nested
      ? rules.nestedRoleBase(cr4, efer, guestMode)
      : rules.cpuRoleBase(cr0, cr4, efer, guestMode);
    const extended = nested ? rules.nestedRoleExtended(cr4) : rules.cpuRoleExtended(cr0, cr4, efer);
    if (!rules.roleChanged(cause, this.cpuBase, this.cpuExtended, base, extended)) return false;
    this.cpuBase = base;
    this.cpuExtended = extended;
    this.rootRole = this.#rootRole(base, guestMode);
    this.format = nested ? rules.nestedFormat(this.formats, base) : this.formats.of(base, kind === 'direct');
    this.control = rules.permissionControl(base, extended);
    return true;
  }

  #rootRole(base: PageRole, guestMode: boolean): PageRole {
    const rules = this.#rules;
    switch (this.kind) {
      case 'shadow':
        return rules.shadowRootRole(base);
      case 'direct':
        return rules.directRootRole(guestMode, this.tableFormat.rootLevel);
      case 'nested':
        return rules.nestedRootRole(base, this.tableFormat.rootLevel);
    }
  }

  /** The tables shadow none of the guest's. */
  get direct(): boolean {
    return isDirect(this.rootRole);
  }
}
