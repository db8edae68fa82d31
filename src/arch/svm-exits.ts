/**
 * VMEXIT codes (APM vol. 2 appendix C), by the manual's names without their `VMEXIT_` prefix.
 *
 * EXITCODE is 64 bits wide; the failure codes are small negative numbers. A code here is the low half as a
 * *signed* number, so INVALID is -1 and its high half in the VMCB is FFFF_FFFFh.
 */

// biome-ignore format: table
export const VMEXIT = {
  CR0_READ:  0x000, CR1_READ:  0x001, CR2_READ:  0x002, CR3_READ:  0x003,
  CR4_READ:  0x004, CR5_READ:  0x005, CR6_READ:  0x006, CR7_READ:  0x007,
  CR8_READ:  0x008, CR9_READ:  0x009, CR10_READ: 0x00a, CR11_READ: 0x00b,
  CR12_READ: 0x00c, CR13_READ: 0x00d, CR14_READ: 0x00e, CR15_READ: 0x00f,
  CR0_WRITE:  0x010, CR1_WRITE:  0x011, CR2_WRITE:  0x012, CR3_WRITE:  0x013,
  CR4_WRITE:  0x014, CR5_WRITE:  0x015, CR6_WRITE:  0x016, CR7_WRITE:  0x017,
  CR8_WRITE:  0x018, CR9_WRITE:  0x019, CR10_WRITE: 0x01a, CR11_WRITE: 0x01b,
  CR12_WRITE: 0x01c, CR13_WRITE: 0x01d, CR14_WRITE: 0x01e, CR15_WRITE: 0x01f,
  DR0_READ:  0x020, DR1_READ:  0x021, DR2_READ:  0x022, DR3_READ:  0x023,
  DR4_READ:  0x024, DR5_READ:  0x025, DR6_READ:  0x026, DR7_READ:  0x027,
  DR8_READ:  0x028, DR9_READ:  0x029, DR10_READ: 0x02a, DR11_READ: 0x02b,
  DR12_READ: 0x02c, DR13_READ: 0x02d, DR14_READ: 0x02e, DR15_READ: 0x02f,
  DR0_WRITE:  0x030, DR1_WRITE:  0x031, DR2_WRITE:  0x032, DR3_WRITE:  0x033,
  DR4_WRITE:  0x034, DR5_WRITE:  0x035, DR6_WRITE:  0x036, DR7_WRITE:  0x037,
  DR8_WRITE:  0x038, DR9_WRITE:  0x039, DR10_WRITE: 0x03a, DR11_WRITE: 0x03b,
  DR12_WRITE: 0x03c, DR13_WRITE: 0x03d, DR14_WRITE: 0x03e, DR15_WRITE: 0x03f,
  /** Exception of vector n: EXCP + n, up to EXCP + 31. */
  EXCP:               0x040,
  INTR:               0x060,
  NMI:                0x061,
  SMI:                0x062,
  INIT:               0x063,
  VINTR:              0x064,
  CR0_SEL_WRITE:      0x065,
  IDTR_READ:          0x066,
  GDTR_READ:          0x067,
  LDTR_READ:          0x068,
  TR_READ:            0x069,
  IDTR_WRITE:         0x06a,
  GDTR_WRITE:         0x06b,
  LDTR_WRITE:         0x06c,
  TR_WRITE:           0x06d,
  RDTSC:              0x06e,
  RDPMC:              0x06f,
  PUSHF:              0x070,
  POPF:               0x071,
  CPUID:              0x072,
  RSM:                0x073,
  IRET:               0x074,
  SWINT:              0x075,
  INVD:               0x076,
  PAUSE:              0x077,
  HLT:                0x078,
  INVLPG:             0x079,
  INVLPGA:            0x07a,
  IOIO:               0x07b,
  MSR:                0x07c,
  TASK_SWITCH:        0x07d,
  FERR_FREEZE:        0x07e,
  SHUTDOWN:           0x07f,
  VMRUN:              0x080,
  VMMCALL:            0x081,
  VMLOAD:             0x082,
  VMSAVE:             0x083,
  STGI:               0x084,
  CLGI:               0x085,
  SKINIT:             0x086,
  RDTSCP:             0x087,
  ICEBP:              0x088,
  WBINVD:             0x089,
  MONITOR:            0x08a,
  MWAIT:              0x08b,
  MWAIT_CONDITIONAL:  0x08c,
  XSETBV:             0x08d,
  RDPRU:              0x08e,
  EFER_WRITE_TRAP:    0x08f,
  CR0_WRITE_TRAP:     0x090,
  CR1_WRITE_TRAP:     0x091,
  CR2_WRITE_TRAP:     0x092,
  CR3_WRITE_TRAP:     0x093,
  CR4_WRITE_TRAP:     0x094,
  CR5_WRITE_TRAP:     0x095,
  CR6_WRITE_TRAP:     0x096,
  CR7_WRITE_TRAP:     0x097,
  CR8_WRITE_TRAP:     0x098,
  CR9_WRITE_TRAP:     0x099,
  CR10_WRITE_TRAP:    0x09a,
  CR11_WRITE_TRAP:    0x09b,
  CR12_WRITE_TRAP:    0x09c,
  CR13_WRITE_TRAP:    0x09d,
  CR14_WRITE_TRAP:    0x09e,
  CR15_WRITE_TRAP:    0x09f,
  INVLPGB:            0x0a0,
  INVLPGB_ILLEGAL:    0x0a1,
  INVPCID:            0x0a2,
  MCOMMIT:            0x0a3,
  TLBSYNC:            0x0a4,
  BUSLOCK:            0x0a5,
  IDLE_HLT:           0x0a6,
  NPF:                0x400,
  AVIC_INCOMPLETE_IPI: 0x401,
  AVIC_NOACCEL:       0x402,
  VMGEXIT:            0x403,
  INVALID:            -1,
  BUSY:               -2,
  IDLE_REQUIRED:      -3,
} as const;

export type VmexitKey = keyof typeof VMEXIT;
export type Vmexit = (typeof VMEXIT)[VmexitKey];

const EXCEPTION_COUNT = 32;

/** Mnemonics KVM prints for exception exits; other vectors by number. */
// biome-ignore format: table
const EXCEPTION_MNEMONICS: Readonly<Record<number, string>> = {
  0: 'DE', 1: 'DB', 3: 'BP', 4: 'OF', 5: 'BR', 6: 'UD', 7: 'NM', 8: 'DF', 10: 'TS', 11: 'NP', 12: 'SS', 13: 'GP',
  14: 'PF', 16: 'MF', 17: 'AC', 18: 'MC', 19: 'XF',
};

// biome-ignore format: table
/** Names in KVM's kvm_exit trace event that are not the manual's name turned to lower case. */
const KVM_SPECIAL: Partial<Record<VmexitKey, string>> = {
  INTR: 'interrupt', TR_READ: 'read_rt', TR_WRITE: 'write_rt', VMMCALL: 'hypercall', IOIO: 'io',
  AVIC_NOACCEL: 'avic_unaccelerated_access', INVALID: 'invalid_guest_state',
};

function kvmNameOfKey(key: VmexitKey): string {
  const special = KVM_SPECIAL[key];
  if (special !== undefined) return special;
  // Register accesses are printed verb first: CR0_READ is read_cr0, EFER_WRITE_TRAP is write_efer_trap.
  const access = /^(CR\d+|DR\d+|[IGL]DTR|EFER)_(READ|WRITE)(_TRAP)?$/.exec(key);
  if (access === null) return key.toLowerCase();
  return `${access[2]}_${access[1]}${access[3] ?? ''}`.toLowerCase();
}

const MANUAL_NAMES = new Map<number, string>();
const KVM_NAMES = new Map<number, string>();
const CODES = new Map<string, number>();

function register(code: number, manualName: string, kvmName: string): void {
  MANUAL_NAMES.set(code, manualName);
  KVM_NAMES.set(code, kvmName);
  CODES.set(manualName, code);
  CODES.set(kvmName, code);
}

for (const key of Object.keys(VMEXIT) as VmexitKey[]) {
  if (key !== 'EXCP') register(VMEXIT[key], `VMEXIT_${key}`, kvmNameOfKey(key));
}
for (let vector = 0; vector < EXCEPTION_COUNT; vector += 1) {
  const mnemonic = EXCEPTION_MNEMONICS[vector] ?? `${vector}`;
  register(VMEXIT.EXCP + vector, `VMEXIT_EXCP${vector}`, `${mnemonic} excp`);
}

const unknownName = (code: number): string => `VMEXIT_${(code >>> 0).toString(16).toUpperCase()}h`;

/**
 * The manual's name, `VMEXIT_CR0_READ`; exceptions as `VMEXIT_EXCP14`. `code` is the low half of EXITCODE.
 */
export const vmexitName = (code: number): string => MANUAL_NAMES.get(code | 0) ?? unknownName(code);

/** The name KVM prints in its trace, `read_cr0`, `PF excp`, `npf`. `code` is the low half of EXITCODE. */
export const kvmExitName = (code: number): string => KVM_NAMES.get(code | 0) ?? unknownName(code);

/** The exit code (signed) of a manual or KVM name, undefined for a name that is neither. */
export const vmexitCode = (name: string): number | undefined => CODES.get(name);

/** Whether the code is an exception intercept, EXCP + vector (APM vol. 2 15.12). */
export const isExceptionExit = (code: number): boolean =>
  code >= VMEXIT.EXCP && code < VMEXIT.EXCP + EXCEPTION_COUNT;
