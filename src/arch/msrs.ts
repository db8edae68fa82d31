/**
 * Model-specific registers: numbers and bits, of all that a 32-bit Linux kernel or kvm-amd reads or writes.
 * Sources: SDM vol. 4 chapter 2; APM vol. 2 appendix A; AMD BKDG/PPR where the line says "AMD".
 */

// biome-ignore format: table
export const MSR = {
  // Pentium machine check and time
  P5_MC_ADDR:            0x0000_0000,
  P5_MC_TYPE:            0x0000_0001,
  TSC:                   0x0000_0010,
  P5_CESR:               0x0000_0011,
  P5_CTR0:               0x0000_0012,
  P5_CTR1:               0x0000_0013,

  // Platform and control
  PLATFORM_ID:           0x0000_0017,
  APIC_BASE:             0x0000_001b,
  EBL_CR_POWERON:        0x0000_002a,
  FEATURE_CONTROL:       0x0000_003a,
  TSC_ADJUST:            0x0000_003b,
  SPEC_CTRL:             0x0000_0048,
  PRED_CMD:              0x0000_0049,
  UCODE_WRITE:           0x0000_0079,
  /** Intel's IA32_BIOS_SIGN_ID and AMD's PATCH_LEVEL: the microcode revision, in EDX on Intel, EAX on AMD. */
  PATCH_LEVEL:           0x0000_008b,
  PERFCTR0:              0x0000_00c1,
  PERFCTR1:              0x0000_00c2,
  MPERF:                 0x0000_00e7,
  APERF:                 0x0000_00e8,
  MTRR_CAP:              0x0000_00fe,
  ARCH_CAPABILITIES:     0x0000_010a,
  FLUSH_CMD:             0x0000_010b,
  BBL_CR_CTL:            0x0000_0119,
  BBL_CR_CTL3:           0x0000_011e,

  // SYSENTER (SDM vol. 3A 5.8.7)
  SYSENTER_CS:           0x0000_0174,
  SYSENTER_ESP:          0x0000_0175,
  SYSENTER_EIP:          0x0000_0176,

  // Machine check, global (SDM vol. 3B 15.3.1)
  MCG_CAP:               0x0000_0179,
  MCG_STATUS:            0x0000_017a,
  MCG_CTL:               0x0000_017b,

  // Performance monitoring, power, thermal
  EVNTSEL0:              0x0000_0186,
  EVNTSEL1:              0x0000_0187,
  PERF_STATUS:           0x0000_0198,
  PERF_CTL:              0x0000_0199,
  CLOCK_MODULATION:      0x0000_019a,
  THERM_INTERRUPT:       0x0000_019b,
  THERM_STATUS:          0x0000_019c,
  MISC_ENABLE:           0x0000_01a0,
  ENERGY_PERF_BIAS:      0x0000_01b0,

  // Last branch and debug control (SDM vol. 3B 17.4, APM vol. 2 13.1.1.8)
  DEBUGCTL:              0x0000_01d9,
  LASTBRANCH_FROM:       0x0000_01db,
  LASTBRANCH_TO:         0x0000_01dc,
  LASTINT_FROM:          0x0000_01dd,
  LASTINT_TO:            0x0000_01de,

  // Memory types (SDM vol. 3A 11.11, 11.12; APM vol. 2 7.7, 7.8)
  /** MTRR_PHYS_BASE of range n is at + 2n, MTRR_PHYS_MASK at + 2n + 1. */
  MTRR_PHYS_BASE0:       0x0000_0200,
  MTRR_PHYS_MASK0:       0x0000_0201,
  MTRR_FIX_64K_00000:    0x0000_0250,
  MTRR_FIX_16K_80000:    0x0000_0258,
  MTRR_FIX_16K_A0000:    0x0000_0259,
  MTRR_FIX_4K_C0000:     0x0000_0268,
  MTRR_FIX_4K_F8000:     0x0000_026f,
  PAT:                   0x0000_0277,
  MTRR_DEF_TYPE:         0x0000_02ff,

  // Machine check banks: bank n at + 4n (SDM vol. 3B 15.3.2)
  MC0_CTL:               0x0000_0400,
  MC0_STATUS:            0x0000_0401,
  MC0_ADDR:              0x0000_0402,
  MC0_MISC:              0x0000_0403,

  // x2APIC: register at xAPIC offset o is MSR 800h + o / 16 (SDM vol. 3A 10.12.1.2)
  X2APIC_BASE:           0x0000_0800,

  // Long mode, system calls, segment bases (APM vol. 2 appendix A)
  EFER:                  0xc000_0080,
  STAR:                  0xc000_0081,
  LSTAR:                 0xc000_0082,
  CSTAR:                 0xc000_0083,
  SFMASK:                0xc000_0084,
  FS_BASE:               0xc000_0100,
  GS_BASE:               0xc000_0101,
  KERNEL_GS_BASE:        0xc000_0102,
  TSC_AUX:               0xc000_0103,
  TSC_RATIO:             0xc000_0104,

  // AMD K7 (BKDG)
  K7_EVNTSEL0:           0xc001_0000,
  K7_EVNTSEL1:           0xc001_0001,
  K7_EVNTSEL2:           0xc001_0002,
  K7_EVNTSEL3:           0xc001_0003,
  K7_PERFCTR0:           0xc001_0004,
  K7_PERFCTR1:           0xc001_0005,
  K7_PERFCTR2:           0xc001_0006,
  K7_PERFCTR3:           0xc001_0007,
  SYSCFG:                0xc001_0010,
  HWCR:                  0xc001_0015,
  IORR_BASE0:            0xc001_0016,
  IORR_MASK0:            0xc001_0017,
  IORR_BASE1:            0xc001_0018,
  IORR_MASK1:            0xc001_0019,
  TOP_MEM:               0xc001_001a,
  TOP_MEM2:              0xc001_001d,
  NB_CFG:                0xc001_001f,
  PATCH_LOADER:          0xc001_0020,
  /** MC_CTL_MASK of bank n at + n (AMD). */
  MC0_CTL_MASK:          0xc001_0044,
  INT_PENDING_MSG:       0xc001_0055,
  PSTATE_CUR_LIMIT:      0xc001_0061,
  PSTATE_CTL:            0xc001_0062,
  PSTATE_STATUS:         0xc001_0063,
  PSTATE_DEF0:           0xc001_0064,
  SMM_BASE:              0xc001_0111,
  SMM_ADDR:              0xc001_0112,
  SMM_MASK:              0xc001_0113,

  // SVM (APM vol. 2 15.30)
  VM_CR:                 0xc001_0114,
  IGNNE:                 0xc001_0115,
  SMM_CTL:               0xc001_0116,
  VM_HSAVE_PA:           0xc001_0117,
  SVM_KEY:               0xc001_0118,
  DOORBELL:              0xc001_011b,
  VIRT_SPEC_CTRL:        0xc001_011f,
  SEV_STATUS:            0xc001_0131,

  // OS visible work-around (AMD)
  OSVW_ID_LENGTH:        0xc001_0140,
  OSVW_STATUS:           0xc001_0141,

  // AMD core configuration
  CPUID_7_FEATURES:      0xc001_1002,
  CPUID_1_FEATURES:      0xc001_1004,
  CPUID_EXT_FEATURES:    0xc001_1005,
  LS_CFG:                0xc001_1020,
  IC_CFG:                0xc001_1021,
  DC_CFG:                0xc001_1022,
  BU_CFG:                0xc001_1023,
  DE_CFG:                0xc001_1029,
  BU_CFG2:               0xc001_102a,
} as const;

// biome-ignore format: table
/** APIC_BASE, low half (SDM vol. 3A 10.4.4); the base address is bits MAXPHYADDR-1:12. */
export const APIC_BASE = {
  BSP:    0x0000_0100,
  X2APIC: 0x0000_0400,
  ENABLE: 0x0000_0800,
  BASE:   0xffff_f000,
} as const;
export const APIC_BASE_RESET = 0xfee0_0000;

// biome-ignore format: table
/** VM_CR (APM vol. 2 15.30.1). */
export const VM_CR = {
  DPD:      0x0000_0001,
  R_INIT:   0x0000_0002,
  DIS_A20M: 0x0000_0004,
  LOCK:     0x0000_0008,
  SVMDIS:   0x0000_0010,
} as const;

// biome-ignore format: table
/** HWCR (AMD), low half, the bits that software tests. */
export const HWCR = {
  SMMLOCK:           0x0000_0001,
  TLB_CACHE_DIS:     0x0000_0008,
  FFDIS:             0x0000_0040,
  IGNNE_EM:          0x0000_0100,
  MC_STATUS_WR_EN:   0x0004_0000,
  TSC_FREQ_SEL:      0x0100_0000,
} as const;

// biome-ignore format: table
/** SYSCFG (APM vol. 2 7.9.1). */
export const SYSCFG = {
  MTRR_FIX_DRAM_EN:     0x0004_0000,
  MTRR_FIX_DRAM_MOD_EN: 0x0008_0000,
  MTRR_VAR_DRAM_EN:     0x0010_0000,
  MTRR_TOM2_EN:         0x0020_0000,
  TOM2_FORCE_WB:        0x0040_0000,
  SME:                  0x0080_0000,
} as const;

// biome-ignore format: table
/** IA32_MISC_ENABLE, low half (SDM vol. 4 table 2-2). */
export const MISC_ENABLE = {
  FAST_STRING:     0x0000_0001,
  TCC:             0x0000_0008,
  EMON:            0x0000_0080,
  BTS_UNAVAILABLE: 0x0000_0800,
  PEBS_UNAVAILABLE: 0x0000_1000,
  ENHANCED_SPEEDSTEP: 0x0001_0000,
  MWAIT:           0x0004_0000,
  LIMIT_CPUID:     0x0040_0000,
} as const;
/** Bit 34 of IA32_MISC_ENABLE: hides NX and makes EFER.NXE reserved. */
export const MISC_ENABLE_HI_XD_DISABLE = 0x0000_0004;

// biome-ignore format: table
/** MTRRcap and MTRRdefType (SDM vol. 3A 11.11.1, 11.11.2.1), the valid bit of a mask (11.11.2.3). */
export const MTRR_CAP = { VCNT: 0x0000_00ff, FIX: 0x0000_0100, WC: 0x0000_0400 } as const;
export const MTRR_DEF_TYPE = { TYPE: 0x0000_00ff, FE: 0x0000_0400, E: 0x0000_0800 } as const;
export const MTRR_PHYS_MASK_VALID = 0x0000_0800;

/** Memory types in MTRRs and the PAT; UC- only in the PAT (SDM vol. 3A 11.3, 11.12.2). */
export const MEMORY_TYPE = { UC: 0, WC: 1, WT: 4, WP: 5, WB: 6, UC_MINUS: 7 } as const;
/** PAT after RESET: WB WT UC- UC, twice (SDM vol. 3A table 11-12). */
export const PAT_RESET = { lo: 0x0007_0406, hi: 0x0007_0406 } as const;

// biome-ignore format: table
/** MCG_CAP, MCG_STATUS, MCi_STATUS (SDM vol. 3B 15.3.1, 15.3.2.2). */
export const MCG_CAP = { COUNT: 0x0000_00ff, CTL_P: 0x0000_0100 } as const;
export const MCG_STATUS = { RIPV: 0x1, EIPV: 0x2, MCIP: 0x4 } as const;
export const MC_STATUS_HI = {
  PCC: 0x0200_0000,
  ADDRV: 0x0400_0000,
  MISCV: 0x0800_0000,
  EN: 0x1000_0000,
  UC: 0x2000_0000,
  OVER: 0x4000_0000,
  VAL: 0x8000_0000,
} as const;

/** DEBUGCTL (APM vol. 2 13.1.1.8, SDM vol. 3B 17.4.1). */
// biome-ignore format: table
export const DEBUGCTL = {
  LBR:   0x0000_0001,
  BTF:   0x0000_0002,
  /** AMD and P6: what the performance-monitoring pins report. */
  PINS:  0x0000_003c,
  /** P6: also TR; Pentium 4: TR, BTS, BTINT and the two BTS_OFF bits in their place. */
  INTEL: 0x0000_007f,
} as const;

// biome-ignore format: table
/** The Pentium 4's last-branch registers: models 0 to 2 have ENTRY0 to 3, later ones FROM0 and TO0 to 15 (SDM vol. 4 2.18). */
export const LASTBRANCH = {
  LER_FROM: 0x1d7, LER_TO: 0x1d8, TOS: 0x1da,
  ENTRIES: 4, ENTRY0: 0x1db,
  SPLIT_ENTRIES: 16, FROM0: 0x680, TO0: 0x6c0,
} as const;
