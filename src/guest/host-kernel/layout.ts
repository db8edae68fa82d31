/** Where the host kernel lies, and how its builds differ. */

/** Kernels to boot L0's host with. */
export const HOST_KERNELS = ['pae', 'nopae', 'nopae-nx'] as const;
/**
 * `pae`: PAE paging. `nopae`: 2-level paging, as Linux 5.13 was. `nopae-nx`: the same with the change that was proposed in July
 * 2021 so that EFER.NX is set there too.
 */
export type HostKernel = (typeof HOST_KERNELS)[number];

/** What the boot path does differently. */
export interface KernelBuild {
  /** CONFIG_X86_PAE. */
  readonly pae: boolean;
  /** It loads CR4 with `mmu_cr4_features` before paging goes on. */
  readonly loadsCr4: boolean;
  /** It goes on to paging at once where those features lack PAE, past all that concerns NX. */
  readonly skipsNxWithoutPae: boolean;
}

// biome-ignore format: table
/**
 * The kernels above, and two more that the proposed change leads to: it is in code that both configurations share, so that PAE
 * kernels have it as well (`pae-nx`); and it could have left the load of CR4 alone (`nopae-nx-cr4`).
 */
export const KERNEL_BUILDS = {
  'pae':          { pae: true,  loadsCr4: true,  skipsNxWithoutPae: true },
  'nopae':        { pae: false, loadsCr4: true,  skipsNxWithoutPae: true },
  'nopae-nx':     { pae: false, loadsCr4: false, skipsNxWithoutPae: false },
  'pae-nx':       { pae: true,  loadsCr4: false, skipsNxWithoutPae: false },
  'nopae-nx-cr4': { pae: false, loadsCr4: true,  skipsNxWithoutPae: false },
} as const satisfies Readonly<Record<string, KernelBuild>>;
export type KernelBuildName = keyof typeof KERNEL_BUILDS;
export const KERNEL_BUILD_NAMES = Object.keys(KERNEL_BUILDS) as readonly KernelBuildName[];

/** Virtual addresses of the kernel are physical ones plus this. */
export const PAGE_OFFSET = 0xc000_0000;
/** The first linear address of the kernel's half, as an index into a page directory. */
export const KERNEL_DIRECTORY_INDEX = PAGE_OFFSET >>> 22;
/** The same as an index into a page-directory-pointer table. */
export const KERNEL_POINTER_INDEX = PAGE_OFFSET >>> 30;

const BASE = 0x40_0000;

/** The kernel in host physical memory: it begins on a 4 MiB boundary, as CONFIG_PHYSICAL_START does. */
export const HOST_KERNEL_PLACE = {
  /** A page of zeros, as `empty_zero_page`. */
  ZERO_PAGE: BASE,
  CODE: BASE + 0x1000,
  /** Tops of the stacks of the boot processor and of a second one. */
  STACK: BASE + 0x4000,
  SECOND_STACK: BASE + 0x3800,
  /** `initial_page_table`: page directory or page-directory-pointer table that paging is turned on with. */
  INITIAL_TABLE: BASE + 0x4000,
  INITIAL_DIRECTORY: BASE + 0x5000,
  /** `swapper_pg_dir`: what the kernel goes on with. */
  SWAPPER: BASE + 0x6000,
  SWAPPER_DIRECTORY: BASE + 0x7000,
  /** Page tables of both, as `brk` and memblock hand them out. */
  PAGE_TABLES: BASE + 0x8000,
  END: BASE + 0x5_0000,
} as const;

/** The first tables map so much from address 0: the kernel and its tables. */
export const EARLY_MAPPED = 0x80_0000;
/** The final ones map so much: memory below the guests'. */
export const LOW_MEMORY = 0x400_0000;

/** Selectors of the kernel's descriptor table. */
export const SELECTOR = { BOOT_CS: 0x10, BOOT_DS: 0x18, KERNEL_CS: 0x60, KERNEL_DS: 0x68 } as const;
