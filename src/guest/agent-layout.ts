/**
 * Where the agents and everything they use lie in L1's physical memory, and the formats they share with whoever
 * compiles scripts for them and reads their log. Every address space maps this region to itself, and so do nested tables:
 * these are L2's physical addresses as well.
 */

// biome-ignore format: table
export const AGENT_LAYOUT = {
  /** Multiboot header, code, tables, state and stacks of both agents: one program. */
  IMAGE:        0x0010_0000,
  /** Probe stubs and stack for CPL 3: the only pages of the region with U/S set. */
  USER_CODE:    0x0011_0000,
  USER_STACK:   0x0011_1000,
  /** State that VMRUN saves for L1 (VM_HSAVE_PA), and what L1 saves beside it with VMSAVE. */
  HOST_SAVE:    0x0011_4000,
  HOST_EXTRA:   0x0011_5000,
  /** The save area of the VMCB in use as it was before VMRUN. */
  VMCB_COPY:    0x0011_6000,
  /** Permission maps, all zero: nothing intercepted. 12 and 8 KiB. */
  IO_MAP:       0x0011_8000,
  MSR_MAP:      0x0011_c000,
  /** VMCB of L2 number n is at + n * 4096. */
  VMCB:         0x0012_0000,
  VMCB_LIMIT:   0x0014_0000,
  /** Tables that map the region: see `agentPageTables`. */
  TABLES:       0x0014_0000,
  SCRIPT:       0x0016_0000,
  SCRIPT_LIMIT: 0x0020_0000,
  LOG:          0x0020_0000,
  LOG_LIMIT:    0x0030_0000,
  /** First page for the tables and data pages of scenarios. */
  PAGES:        0x0030_0000,
  /** End of the region that every address space maps to itself. */
  END:          0x0100_0000,
} as const;

// biome-ignore format: table
/** Selectors in the GDT that both agents use. Data accesses go through USER_DATA at every privilege level. */
export const AGENT_SELECTOR = {
  KERNEL_CODE: 0x08,
  KERNEL_DATA: 0x10,
  USER_CODE:   0x1b,
  USER_DATA:   0x23,
  L1_TSS:      0x28,
  L2_TSS:      0x30,
  LDT:         0x38,
  /** User data whose base is SHIFTED_BASE. */
  SHIFTED:     0x43,
} as const;

/** Base of the SHIFTED segment: offset 0 in it is not linear address 0. */
export const SHIFTED_BASE = 0x1357_0000;
/** Selector of descriptor 0 in the LDT, RPL 3: what the descriptor probes load. */
export const LDT_SELECTOR = 0x07;

/** One script step is 8 dwords: operation, step number, then operands. One log record is 8 dwords as well. */
export const STEP_SIZE = 32;
export const RECORD_SIZE = 32;

// biome-ignore format: table
/** Operations of the agents. Operands are the dwords 2 to 7 of the step. Addresses are linear = physical here. */
export const OPERATION = {
  /** L1: ends the run. */
  END:        0,
  /** form, flags (PROBE_FLAG), address, value. Records a value or a fault. */
  PROBE:      1,
  /** register (AGENT_REGISTER), mask to clear, mask to set. Records the value read back, or a fault. */
  SET:        2,
  /** CR0, CR3, CR4, EFER: clears CR0.PG, loads the others, then CR0. Records CR0, or a fault. */
  SWITCH:     3,
  /** address, width (1, 2, 4, 8), value, high half. Records nothing, unless it faults. */
  WRITE:      4,
  /** address, width (4, 8). Records the value. */
  READ:       5,
  /** address. Records nothing, unless it faults. */
  INVLPG:     6,
  /** address, ASID. Records nothing, unless it faults. */
  INVLPGA:    7,
  /** Writes CR3 with the value it has. Records CR3, or a fault. */
  RELOAD:     8,
  /** Records CR0, CR3, CR4 and EFER. */
  REGISTERS:  9,
  /**
   * L1: VMCB address, step to go on at if L2 cannot, flags (ENTER_FLAG), and an entry to mend: its address and both
   * halves. Runs L2, which goes on with the script.
   */
  ENTER:      10,
  /** L2: VMMCALL; L1 goes on with the script. L1 records the exit. */
  LEAVE:      11,
  /** Does nothing: a place for an injected event to arrive. */
  NOTHING:    12,
  /** A word for HOST_MEMORY.PORT. Records nothing. */
  HOST_MEMORY: 13,
  /** 1 to write the PAT MSR, and both halves of the value. Records it as it is then, or a fault. */
  PAT:        14,
} as const;
export const OPERATION_COUNT = 15;

/**
 * The port of a machine under a hypervisor at which a guest asks for changes to the memory behind its pages: one 32-bit
 * write of the page's address and an action in its low bits. A read gives the actions there are as a bit mask, bit
 * number = action, and all ones where there is no such port.
 */
export const HOST_MEMORY = { PORT: 0x0b10, MOVE: 1, REMOVE: 2, RETURN: 3 } as const;

export const PROBE_FLAG = { CPL3: 1, AC: 2, LDT: 4 } as const;
/**
 * REFLECT: L1 injects an intercepted exception into L2; without, L2 skips the step that caused the exit. MEND4 and MEND8: at
 * the first nested page fault L1 writes an entry of so many bytes, and L2 tries again.
 */
export const ENTER_FLAG = { REFLECT: 1, MEND4: 2, MEND8: 4 } as const;
export const AGENT_REGISTER = { CR0: 0, CR2: 2, CR3: 3, CR4: 4, EFER: 8 } as const;

// biome-ignore format: table
/** Dwords of a log record. */
export const RECORD = {
  STEP:   0,
  /** RECORD_STATUS in bits 7:0, the level that recorded it (1 or 2) in bits 15:8. */
  STATUS: 1,
  /** Value; vector of a fault; low half of EXITCODE; CR0; high half of EXITINFO1. */
  A:      2,
  /** High half of a value; error code; low half of EXITINFO1; CR3; high half of EXITINFO2. */
  B:      3,
  /** CR2 at a fault; low half of EXITINFO2; CR4. */
  C:      4,
  /** EIP at a fault or exit; EFER. */
  D:      5,
  /** CS at a fault; low half of EXITINTINFO. */
  E:      6,
  /** EFLAGS at a fault or exit. */
  F:      7,
} as const;

// biome-ignore format: table
export const RECORD_STATUS = {
  /** The step did what it says. */
  DONE:       1,
  /** An exception, delivered to the agent that ran the step. */
  FAULT:      2,
  /** An exit from L2 to L1. */
  EXIT:       3,
  /** An exception where none can be: the run ends. */
  UNEXPECTED: 4,
  /** Follows the record of a nested page fault: the high halves, in which all that is not in 32 bits lies. */
  EXIT_HIGH:  5,
} as const;

/** What the L1 agent writes to port 0xf4 at the end. */
export const AGENT_EXIT = { DONE: 0, UNEXPECTED: 1, NO_SVM: 2, SCRIPT_ERROR: 3 } as const;
export const DEBUG_EXIT_PORT = 0xf4;
