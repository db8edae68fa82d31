/**
 * A processor for tests of L0 that has no instructions: its guests are lists of operations. What matters it does as the
 * real one: VMRUN and #VMEXIT, a walk of the shadow tables that L0 wrote, and a TLB that keeps every translation until
 * L0 flushes it.
 */
import type { Gva, Hpa } from '../../src/arch/address.ts';
import { type CpuModel, pagingFeaturesOf } from '../../src/arch/cpu-models.ts';
import { cpuid } from '../../src/arch/cpuid.ts';
import { VECTOR } from '../../src/arch/exceptions.ts';
import { MSR } from '../../src/arch/msrs.ts';
import { paeFormat } from '../../src/arch/paging/pae.ts';
import { ACCESS, accessAllowed, pagingControl } from '../../src/arch/paging/permissions.ts';
import {
  type EntryMemory,
  translate,
  UPDATE,
  type Update,
  WALK,
  WalkResult,
} from '../../src/arch/paging/walker.ts';
import { CR0, CR4, EFER, EFLAGS, GPR } from '../../src/arch/registers.ts';
import { VMEXIT } from '../../src/arch/svm-exits.ts';
import {
  CR_ACCESS,
  EVENT,
  EVENT_TYPE,
  INTERCEPT1,
  IOIO_PORT_SHIFT,
  TLB_CONTROL,
  V_INTR,
  VMCB,
  VMCB_SAVE,
} from '../../src/arch/vmcb.ts';
import type {
  CpuidAnswer,
  EmulatedException,
  EmulatedState,
  EmulatorBus,
  Halves,
  Hardware,
  HostMemory,
  InstructionEmulator,
} from '../../src/l0/hardware.ts';
import { Emulated, EmulatedAccess } from '../../src/l0/hardware.ts';

/** One step of a guest. */
export type Operation =
  | {
      readonly kind: 'access';
      readonly access: 'read' | 'write' | 'fetch';
      readonly linear: number;
      readonly size: 1 | 2 | 4 | 8;
      readonly lo?: number;
      readonly hi?: number;
    }
  | { readonly kind: 'cr'; readonly register: 0 | 3 | 4; readonly value: number }
  | { readonly kind: 'efer'; readonly value: number }
  | { readonly kind: 'invlpg'; readonly linear: number }
  /** No exit: privilege and EFLAGS.AC change. */
  | { readonly kind: 'privilege'; readonly cpl: 0 | 3; readonly ac: boolean }
  /** No exit: RFLAGS.IF changes. */
  | { readonly kind: 'interrupts'; readonly enabled: boolean }
  /** Any intercepted instruction, with what the exit reports. */
  | {
      readonly kind: 'exit';
      readonly code: number;
      readonly info1?: number;
      readonly info1Hi?: number;
      readonly info2?: number;
      readonly registers?: Readonly<Partial<Record<'EAX' | 'ECX' | 'EDX', number>>>;
      /** It is over with the exit: L0 does not go on behind it in the same guest. */
      readonly last?: boolean;
    }
  | { readonly kind: 'vmrun'; readonly vmcb: number }
  | { readonly kind: 'vmmcall' }
  | { readonly kind: 'invlpga'; readonly linear: number; readonly asid: number }
  | { readonly kind: 'cpuid' }
  | { readonly kind: 'io'; readonly port: number; readonly value: number }
  /** Ends the run: nothing more to do. */
  | { readonly kind: 'stop' };

/** What an operation came to. */
export type Result =
  | { readonly outcome: 'ok'; readonly lo: number; readonly hi: number }
  | { readonly outcome: 'fault'; readonly vector: number; readonly errorCode: number; readonly cr2: number };

const PAGE = 4096;
const NRIP_STEP = 3;

interface Cached {
  readonly pfn: number;
  readonly rights: number;
}

class HostTables implements EntryMemory {
  lo = 0;
  hi = 0;
  readonly #u32: Uint32Array;
  constructor(u32: Uint32Array) {
    this.#u32 = u32;
  }
  readEntry(address: number): boolean {
    this.lo = this.#u32[address >>> 2];
    this.hi = this.#u32[(address >>> 2) + 1];
    return true;
  }
  updateEntry(address: number, _size: 4 | 8, _lo: number, _hi: number, newLo: number): Update {
    this.#u32[address >>> 2] = newLo;
    return UPDATE.DONE;
  }
}

export class FakeHardware implements Hardware {
  readonly memory: HostMemory;
  readonly gpr = new Uint32Array(32);
  readonly emulator: InstructionEmulator;
  readonly model: CpuModel;
  /** Operations of whoever runs, in order, and what came of those done. */
  readonly program: Operation[] = [];
  readonly results: Result[] = [];
  /** Called when the program is used up: L0 must come out of `run`. */
  onIdle: () => void = () => {};
  vmruns = 0;
  /** Interrupts, NMIs and software interrupts that the guest took: EVENTINJ, or V_INTR for a virtual one. */
  readonly delivered: number[] = [];
  readonly #msrs = new Map<number, Halves>();
  readonly #tlb = new Map<number, Cached>();
  readonly #walk = new WalkResult();
  readonly #tables: HostTables;
  readonly #pdptes = new Uint32Array(8);
  #vmcb = 0;
  #time = 0;

  constructor(model: CpuModel, size: number) {
    const buffer = new ArrayBuffer(size);
    this.memory = {
      size,
      u8: new Uint8Array(buffer),
      u16: new Uint16Array(buffer),
      u32: new Uint32Array(buffer),
      written: () => {},
    };
    this.model = model;
    this.#tables = new HostTables(this.memory.u32);
    this.#msrs.set(MSR.EFER, { lo: EFER.NXE, hi: 0 });
    this.emulator = new FakeEmulator(this);
  }

  // --- registers -------------------------------------------------------------------------------------------------

  readCr(index: 0 | 2 | 3 | 4): number {
    return index === 0 ? (CR0.PE | CR0.PG) >>> 0 : index === 4 ? CR4.PAE : 0;
  }
  writeCr(): void {}
  readDr(): number {
    return 0;
  }
  writeDr(): void {}
  rdmsr(index: number): Halves {
    return this.#msrs.get(index) ?? { lo: 0, hi: 0 };
  }
  wrmsr(index: number, lo: number, hi: number): void {
    this.#msrs.set(index, { lo, hi });
  }
  cpuid(leaf: number, subleaf: number): CpuidAnswer {
    return cpuid(this.model, leaf, subleaf);
  }
  vmload(): void {}
  vmsave(): void {}
  stgi(): void {}
  clgi(): void {}
  hlt(): boolean {
    return false;
  }
  elapse(ticks: number): void {
    this.#time += ticks;
  }
  rdtsc(): Halves {
    this.#time += 1;
    return { lo: this.#time, hi: 0 };
  }

  invlpga(linear: Gva, asid: number): void {
    this.#tlb.delete(tlbKey(asid, linear));
  }

  /** Translations cached for an ASID, for tests of flushes. */
  cached(asid: number): number {
    let count = 0;
    for (const key of this.#tlb.keys()) if (Math.floor(key / 0x10_0000) === asid) count += 1;
    return count;
  }

  // --- VMCB ------------------------------------------------------------------------------------------------------

  #read(offset: number): number {
    return this.memory.u32[(this.#vmcb + offset) >>> 2];
  }
  #write(offset: number, value: number, hi = 0): void {
    this.memory.u32[(this.#vmcb + offset) >>> 2] = value;
    this.memory.u32[((this.#vmcb + offset) >>> 2) + 1] = hi;
  }
  get #cpl(): number {
    return this.memory.u8[this.#vmcb + VMCB_SAVE.CPL];
  }

  vmrun(vmcb: Hpa): true {
    this.#runGuest(vmcb);
    return true;
  }
  /** This machine never stands still. */
  readonly stopped = false;
  resume(): true {
    return true;
  }
  showGuest(): void {}
  interruptHost(): void {}

  #runGuest(vmcb: Hpa): void {
    this.#vmcb = vmcb;
    this.vmruns += 1;
    this.#time += 1;
    this.#checkGuestState();
    this.#flushTlb();
    this.#loadPdptes();
    this.#write(VMCB.EXITINTINFO, 0);
    this.#takeEvent();
    if (this.#takeVirtualInterrupt()) return;
    for (;;) {
      const operation = this.program[0];
      if (operation === undefined || operation.kind === 'stop') {
        this.onIdle();
        this.#exit(VMEXIT.INTR);
        return;
      }
      if (this.#run(operation)) return;
    }
  }

  /** The processor would refuse anything else. */
  #checkGuestState(): void {
    const cr0 = this.#read(VMCB_SAVE.CR0);
    const efer = this.#read(VMCB_SAVE.EFER);
    if ((cr0 & CR0.PG) === 0 || (cr0 & CR0.WP) === 0)
      throw new Error('L0 must run guests with CR0.PG = WP = 1.');
    if ((this.#read(VMCB_SAVE.CR4) & CR4.PAE) === 0) throw new Error('L0 must run guests with CR4.PAE = 1.');
    if ((efer & EFER.NXE) === 0 || (efer & EFER.SVME) === 0)
      throw new Error('EFER.NXE and SVME must be set.');
    if (this.#read(VMCB.GUEST_ASID) === 0) throw new Error('ASID 0 is the host.');
  }

  #flushTlb(): void {
    const asid = this.#read(VMCB.GUEST_ASID);
    const control = this.memory.u8[this.#vmcb + VMCB.TLB_CONTROL];
    if (control === TLB_CONTROL.FLUSH_ALL) this.#tlb.clear();
    else if (control === TLB_CONTROL.FLUSH_ASID) {
      for (const key of this.#tlb.keys()) if (Math.floor(key / 0x10_0000) === asid) this.#tlb.delete(key);
    } else if (control !== TLB_CONTROL.NOTHING) throw new Error(`TLB_CONTROL ${control}`);
  }

  #loadPdptes(): void {
    const cr3 = this.#read(VMCB_SAVE.CR3);
    for (let i = 0; i < 8; i += 1) this.#pdptes[i] = this.memory.u32[(cr3 >>> 2) + i];
    for (let i = 0; i < 4; i += 1) {
      const lo = this.#pdptes[2 * i];
      if ((lo & 1) !== 0 && (lo & 0x1e6) !== 0)
        throw new Error(`Reserved bits in shadow PDPTE ${i}: ${lo.toString(16)}h`);
    }
  }

  /** EVENTINJ: the fault is delivered, which is the result of the operation that raised it. */
  #takeEvent(): void {
    const event = this.#read(VMCB.EVENTINJ);
    if ((event & EVENT.VALID) === 0) return;
    const errorCode = this.memory.u32[((this.#vmcb + VMCB.EVENTINJ) >>> 2) + 1];
    this.#write(VMCB.EVENTINJ, 0);
    if ((event & EVENT.TYPE) !== EVENT_TYPE.EXCEPTION) {
      this.delivered.push(event);
      return;
    }
    this.#pendingRip = -1;
    this.program.shift();
    this.results.push({
      outcome: 'fault',
      vector: event & EVENT.VECTOR,
      errorCode: (event & EVENT.EV) === 0 ? 0 : errorCode,
      cr2: (event & EVENT.VECTOR) === VECTOR.PF ? this.#read(VMCB_SAVE.CR2) : 0,
    });
  }

  /** V_IRQ, once IF and the shadow allow (APM vol. 2 15.21.4). True if that is intercepted. */
  #takeVirtualInterrupt(): boolean {
    const control = this.#read(VMCB.V_INTR);
    if ((control & V_INTR.IRQ) === 0 || (this.#read(VMCB_SAVE.RFLAGS) & EFLAGS.IF) === 0) return false;
    if ((this.#read(VMCB.INTERRUPT_STATE) & 1) !== 0) return false;
    if ((this.#read(VMCB.INTERCEPT_MISC1) & INTERCEPT1.VINTR) !== 0) return this.#exit(VMEXIT.VINTR);
    this.memory.u32[(this.#vmcb + VMCB.V_INTR) >>> 2] &= ~V_INTR.IRQ;
    this.delivered.push(this.#read(VMCB.V_INTR_VECTOR) & 0xff);
    return false;
  }

  #exit(code: number, info1 = 0, info1Hi = 0, info2 = 0): true {
    this.#write(VMCB.EXITCODE, code >>> 0);
    this.#write(VMCB.EXITINFO1, info1, info1Hi);
    this.#write(VMCB.EXITINFO2, info2);
    this.#write(VMCB.NRIP, (this.#read(VMCB_SAVE.RIP) + NRIP_STEP) >>> 0);
    return true;
  }

  // --- operations ------------------------------------------------------------------------------------------------

  /** True if it ended in a #VMEXIT. An exit for an instruction is done when L0 goes on behind it. */
  #run(operation: Operation): boolean {
    switch (operation.kind) {
      case 'access':
        return this.#access(operation);
      case 'privilege':
        this.memory.u8[this.#vmcb + VMCB_SAVE.CPL] = operation.cpl;
        this.#write(
          VMCB_SAVE.RFLAGS,
          (this.#read(VMCB_SAVE.RFLAGS) & ~0x4_0000) | (operation.ac ? 0x4_0000 : 0),
        );
        this.complete(0, 0);
        return false;
      case 'interrupts': {
        const flags = this.#read(VMCB_SAVE.RFLAGS) & ~EFLAGS.IF;
        this.#write(VMCB_SAVE.RFLAGS, operation.enabled ? flags | EFLAGS.IF : flags);
        this.complete(0, 0);
        return this.#takeVirtualInterrupt();
      }
      default:
        return this.#exitOf(operation);
    }
  }

  #pendingRip = -1;

  #exitOf(operation: Operation): boolean {
    const rip = this.#read(VMCB_SAVE.RIP);
    if (this.#pendingRip >= 0) {
      // L0 has run it: RIP is behind.
      if (rip !== this.#pendingRip)
        throw new Error('L0 came back neither behind the instruction nor with an event.');
      this.#pendingRip = -1;
      this.complete(0, 0);
      return false;
    }
    this.#pendingRip = (rip + NRIP_STEP) >>> 0;
    const rax = (value: number): void => this.#write(VMCB_SAVE.RAX, value);
    switch (operation.kind) {
      case 'cr':
        rax(operation.value);
        return this.#exit(VMEXIT.CR0_WRITE + operation.register, GPR.EAX, CR_ACCESS.HI_MOV);
      case 'efer':
        this.gpr[GPR.ECX * 2] = MSR.EFER;
        this.gpr[GPR.EDX * 2] = 0;
        rax(operation.value);
        return this.#exit(VMEXIT.MSR, 1);
      case 'invlpg':
        return this.#exit(VMEXIT.INVLPG, operation.linear);
      case 'vmrun':
        // Done from L1's view only with the #VMEXIT; the next operations are L2's.
        this.#pendingRip = -1;
        this.complete(0, 0);
        rax(operation.vmcb);
        return this.#exit(VMEXIT.VMRUN);
      case 'vmmcall':
        this.#pendingRip = -1;
        this.complete(0, 0);
        return this.#exit(VMEXIT.VMMCALL);
      case 'invlpga':
        rax(operation.linear);
        this.gpr[GPR.ECX * 2] = operation.asid;
        return this.#exit(VMEXIT.INVLPGA);
      case 'exit': {
        const { EAX, ECX, EDX } = operation.registers ?? {};
        if (EAX !== undefined) rax(EAX);
        if (ECX !== undefined) this.gpr[GPR.ECX * 2] = ECX;
        if (EDX !== undefined) this.gpr[GPR.EDX * 2] = EDX;
        if (operation.last === true) {
          this.#pendingRip = -1;
          this.complete(0, 0);
        }
        return this.#exit(operation.code, operation.info1, operation.info1Hi, operation.info2);
      }
      case 'cpuid':
        rax(0);
        return this.#exit(VMEXIT.CPUID);
      case 'io':
        rax(operation.value);
        return this.#exit(VMEXIT.IOIO, 0x10 | (operation.port << IOIO_PORT_SHIFT));
      default:
        throw new Error(operation.kind);
    }
  }

  /** An event ended the running operation: a #GP for its privileged write, for instance. */
  complete(lo: number, hi: number): void {
    this.program.shift();
    this.results.push({ outcome: 'ok', lo, hi });
  }

  #access(operation: Operation & { kind: 'access' }): boolean {
    const user = this.#cpl === 3 ? ACCESS.USER : 0;
    const kind =
      operation.access === 'write' ? ACCESS.WRITE : operation.access === 'fetch' ? ACCESS.FETCH : 0;
    const host = this.#translate(operation.linear, kind | user);
    if (host < 0) return this.#exit(VMEXIT.EXCP + VECTOR.PF, this.#errorCode, 0, operation.linear);
    const { u8 } = this.memory;
    const bytes = (from: number, count: number): number => {
      let value = 0;
      for (let i = 0; i < count; i += 1) value |= u8[host + from + i] << (8 * i);
      return value >>> 0;
    };
    if (operation.access !== 'write') {
      this.complete(bytes(0, Math.min(operation.size, 4)), operation.size === 8 ? bytes(4, 4) : 0);
      return false;
    }
    for (let i = 0; i < operation.size; i += 1) {
      u8[host + i] = ((i < 4 ? operation.lo : operation.hi) ?? 0) >>> (8 * (i & 3));
    }
    this.complete(0, 0);
    return false;
  }

  #errorCode = 0;

  /** Through the TLB; a miss or a refusal walks the shadow tables (AMD walks again before it reports a fault). */
  #translate(linear: number, access: number): number {
    const asid = this.#read(VMCB.GUEST_ASID);
    const key = tlbKey(asid, linear);
    const control = pagingControl(
      this.#read(VMCB_SAVE.CR0),
      this.#read(VMCB_SAVE.CR4),
      this.#read(VMCB_SAVE.EFER),
      this.#read(VMCB_SAVE.RFLAGS),
    );
    const cached = this.#tlb.get(key);
    if (cached !== undefined && accessAllowed(cached.rights, access, control)) {
      return cached.pfn * PAGE + (linear & (PAGE - 1));
    }
    this.#tlb.delete(key);
    const index = (linear >>> 30) * 2;
    const format = paeFormat(pagingFeaturesOf(this.model, true));
    const status = translate(
      format,
      this.#pdptes[index],
      this.#pdptes[index + 1],
      linear >>> 12,
      access,
      control,
      this.#tables,
      this.#walk,
    );
    if (status !== WALK.OK) {
      this.#errorCode = this.#walk.errorCode;
      return -1;
    }
    this.#tlb.set(key, { pfn: this.#walk.frame, rights: this.#walk.rights });
    return this.#walk.frame * PAGE + (linear & (PAGE - 1));
  }

  /** Called by L0 instead of running an operation: the fault that it injects or the emulated access ends it. */
  get current(): Operation | undefined {
    return this.program[0];
  }
}

const tlbKey = (asid: number, linear: number): number => asid * 0x10_0000 + (linear >>> 12);

/** Runs the access at the head of the program through L0's accessors. */
class FakeEmulator implements InstructionEmulator {
  exception: EmulatedException = { vector: 0, errorCode: -1, address: 0 };
  readonly interruptShadow = false;
  readonly delivered = false;
  readonly debugConditions = 0;
  readonly exit = {
    code: 0,
    info1: 0,
    info1Hi: 0,
    info2: 0,
    info2Hi: 0,
    nextRip: 0,
    event: 0,
    eventError: 0,
  };
  readonly #hardware: FakeHardware;

  constructor(hardware: FakeHardware) {
    this.#hardware = hardware;
  }

  step(state: EmulatedState, bus: EmulatorBus): Emulated {
    const operation = this.#hardware.current;
    if (operation?.kind !== 'access') throw new Error('the fake processor emulates plain accesses only');
    const supervisor = this.#hardware.memory.u8[state.vmcb + VMCB_SAVE.CPL] !== 3;
    const linear = operation.linear as Gva;
    if (operation.access === 'fetch') {
      let value = 0;
      for (let i = 0; i < operation.size; i += 1) {
        const byte = bus.fetch((linear + i) as Gva);
        if (byte < 0) return this.#fault(bus.fault);
        value |= byte << (8 * i);
      }
      return this.#done(state, value >>> 0, 0);
    }
    const write = operation.access === 'write';
    const kind = write ? EmulatedAccess.write : EmulatedAccess.read;
    if (!bus.check(linear, operation.size, kind, supervisor, false)) return this.#fault(bus.fault);
    if (write) {
      bus.write(linear, operation.size, operation.lo ?? 0, operation.hi ?? 0, supervisor, false);
      return this.#done(state, 0, 0);
    }
    const lo = bus.read(linear, operation.size, supervisor, false);
    return this.#done(state, lo, operation.size === 8 ? bus.high : 0);
  }

  /** The fake does not keep RIP per access; it moves all the same, as behind any instruction. */
  #done(state: EmulatedState, lo: number, hi: number): Emulated {
    this.#hardware.complete(lo, hi);
    const { u32 } = this.#hardware.memory;
    u32[(state.vmcb + VMCB_SAVE.RIP) >>> 2] += NRIP_STEP;
    return Emulated.done;
  }

  #fault({ vector, errorCode, address }: EmulatedException): Emulated {
    this.exception = { vector, errorCode, address };
    return Emulated.exception;
  }

  deliver(): Emulated {
    throw new Error('the fake processor emulates no delivery');
  }

  taskSwitch(): Emulated {
    throw new Error('the fake processor emulates no task switch');
  }
}
