import { ENTRY, has } from '../bits.ts';

/** A paging-structure entry about to be read: what it is and where it lives. */
export interface EntryPlace {
  readonly name: 'PML5E' | 'PML4E' | 'PDPTE' | 'PDE' | 'PTE';
  readonly format: 'two-level' | 'pae' | 'long';
  /** Address in the space that the table's address is in: physical, or guest-physical under nested paging. */
  readonly address: bigint;
  readonly width: 4 | 8;
}

/** What one entry grants; a translation has the rights that all its entries grant (SDM vol. 3A 4.6). */
export interface Rights {
  readonly writable: boolean;
  readonly user: boolean;
  readonly executable: boolean;
}

/** The page that the last entry maps. */
export interface Page {
  /** Physical address of the linear address being translated, not of the page's start. */
  readonly address: bigint;
  /** 4 KiB, 2 MiB, 4 MiB or 1 GiB, in bytes. */
  readonly size: number;
  /** The G flag; it counts only with CR4.PGE. */
  readonly global: boolean;
  readonly protectionKey: number;
}

/** What a value means at its place. */
export type Meaning =
  | { readonly kind: 'absent' }
  | { readonly kind: 'reserved' }
  | {
      readonly kind: 'table';
      readonly next: EntryPlace;
      readonly rights: Rights;
      readonly hasAccessed: boolean;
    }
  | { readonly kind: 'page'; readonly page: Page; readonly rights: Rights };

/** Where a translation begins. */
export type Start =
  | { readonly kind: 'entry'; readonly place: EntryPlace }
  /** No translation: the linear address is the physical one. */
  | { readonly kind: 'identity' }
  /** The linear address is not canonical (SDM vol. 3A 4.5.2): an exception that is not a page fault. */
  | { readonly kind: 'noncanonical' }
  /** The PDPTE register for the address has P = 0 (SDM vol. 3A 4.4.2). */
  | { readonly kind: 'absent' };

export const ALL_RIGHTS: Rights = { writable: true, user: true, executable: true };
export const ABSENT: Meaning = { kind: 'absent' };
export const RESERVED: Meaning = { kind: 'reserved' };

/** R/W and U/S, and XD where `executeDisable` says that bit 63 is one (SDM vol. 3A 4.6.1). */
export const rightsOf = (value: bigint, executeDisable: boolean): Rights => ({
  writable: has(value, ENTRY.RW),
  user: has(value, ENTRY.US),
  executable: !(executeDisable && has(value, ENTRY.XD)),
});

/** Rights that both sides grant. */
export const bothRights = (a: Rights, b: Rights): Rights => ({
  writable: a.writable && b.writable,
  user: a.user && b.user,
  executable: a.executable && b.executable,
});

export const SIZE_4K = 0x1000;
export const SIZE_2M = 0x20_0000;
export const SIZE_4M = 0x40_0000;
export const SIZE_1G = 0x4000_0000;
