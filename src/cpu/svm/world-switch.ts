import { MSR } from '../../arch/msrs.ts';
import { CR0, CR4, DR6, DR7_FIXED_ONE, EFER, EFLAGS } from '../../arch/registers.ts';
import { INTERRUPT_STATE, NESTED_CTL, TLB_CONTROL, V_INTR, VMCB, VMCB_SAVE } from '../../arch/vmcb.ts';
import type { Cpu } from '../cpu.ts';
import { SYSTEM } from '../layout.ts';
import { ConsistencyChecks } from './checks.ts';
import { GuestControls } from './controls.ts';
import type { ExitInformation } from './exit-information.ts';
import { PdpteLoader } from './pdptes.ts';
import { loadGuestOnly, loadSwitched, storeGuestOnly, storeSwitched } from './switched-state.ts';
import { VmcbPage } from './vmcb-page.ts';

/** What the copies that `PagedMemory` keeps of an address space were made under. */
const PAGING_CR0 = CR0.PG | CR0.WP;
const PAGING_CR4 = CR4.PSE | CR4.PAE | CR4.PGE | CR4.SMEP | CR4.SMAP;
/** Two bits that none of the above is: nested paging was on, and the ASID has not run yet. */
const NESTED = 2;
const NEVER_RAN = 1;
const BREAKPOINTS_ENABLED = 0xff;
/** V_TPR and V_IRQ: what #VMEXIT writes back of V_INTR. */
const WRITTEN_BACK = V_INTR.TPR | V_INTR.IRQ;

/**
 * VMRUN and #VMEXIT: the processor's state goes from host to guest and back (APM vol. 2 15.5.1, 15.6).
 *
 * The host's state lies in the page that VM_HSAVE_PA names, in the layout of a VMCB, hidden parts of segment registers
 * included, and comes back from there. Only the host's EFLAGS.IF is kept inside the processor as well.
 */
export class WorldSwitch {
  readonly #cpu: Cpu;
  readonly #vmcb: VmcbPage;
  readonly #host: VmcbPage;
  readonly #pdptes: PdpteLoader;
  readonly #checks: ConsistencyChecks;
  readonly controls = new GuestControls();
  /** EFLAGS.IF of the host at VMRUN, which rules over physical interrupts under V_INTR_MASKING (APM vol. 2 15.21.1). */
  hostInterrupts = false;
  /** Paging registers under which each ASID ran last. */
  readonly #pagingOf: Int32Array;
  readonly #savesNextRip: boolean;
  readonly #savesBytes: boolean;

  constructor(cpu: Cpu) {
    this.#cpu = cpu;
    this.#vmcb = new VmcbPage(cpu.physical);
    this.#host = new VmcbPage(cpu.physical);
    this.#pdptes = new PdpteLoader(cpu);
    this.#checks = new ConsistencyChecks(cpu, this.#pdptes);
    this.#pagingOf = new Int32Array(Math.max(cpu.model.asidCount, 1)).fill(NEVER_RAN);
    this.#savesNextRip = cpu.hasFeature('nrip_save');
    this.#savesBytes = cpu.hasFeature('decodeassists');
  }

  /** The VMCB of the guest that runs, or ran last. */
  get vmcb(): VmcbPage {
    return this.#vmcb;
  }

  /** CR0 as `saveHost` saved it. */
  get hostCr0(): number {
    return this.#host.read(VMCB_SAVE.CR0);
  }

  /** Saves the host. `eip` is where it goes on; completion of VMRUN clears RF (APM vol. 2 15.5.1). */
  saveHost(eip: number): void {
    const cpu = this.#cpu;
    const flags = cpu.state.eflags & ~EFLAGS.RF;
    const area = cpu.msrs.get(MSR.VM_HSAVE_PA);
    this.#host.attach(area === undefined ? 0 : area.hi * 0x1_0000_0000 + area.lo);
    storeSwitched(cpu, this.#host, eip, flags);
    this.#host.written();
    this.hostInterrupts = (flags & EFLAGS.IF) !== 0;
    this.#notePaging(0);
  }

  /** Loads the guest of a VMCB. False, with nothing changed, if it is illegal. */
  enter(vmcb: number): boolean {
    const page = this.#vmcb;
    page.attach(vmcb);
    if (!this.#checks.guestIsLegal(page)) return false;
    const { controls } = this;
    const cpu = this.#cpu;
    controls.load(page);
    const watched = this.#breakpointsEnabled();
    const nested = (page.read(VMCB.NESTED_CTL) & NESTED_CTL.NP_ENABLE) !== 0;
    if (nested) this.#enterNestedPaging(page);
    loadSwitched(cpu, page);
    loadGuestOnly(cpu, page);
    if (!nested && this.#usesPae()) this.#pdptes.commit();
    this.#flush(page.readByte(VMCB.TLB_CONTROL));
    if (watched || this.#breakpointsEnabled()) cpu.watchDataBreakpoints();
    cpu.updateContext();
    this.#beginTime(page);
    return true;
  }

  /**
   * The second level of translation, while the host's registers are still in the processor: its CR4 and EFER say in which
   * format nCR3's tables are, for as long as the guest runs. G_PAT replaces the PAT (APM vol. 2 15.25.2, 15.25.3).
   */
  #enterNestedPaging(page: VmcbPage): void {
    const { msrs, paging, state } = this.#cpu;
    paging.enterNested(page.read(VMCB.N_CR3), state.cr4, state.efer);
    msrs.enterGuestPat(page.read(VMCB_SAVE.G_PAT), page.readHigh(VMCB_SAVE.G_PAT));
  }

  #usesPae(): boolean {
    const { cr0, cr4 } = this.#cpu.state;
    return (cr0 & CR0.PG) !== 0 && (cr4 & CR4.PAE) !== 0;
  }

  /** TLB_CONTROL (APM vol. 2 15.16.1), and on with the guest's ASID. */
  #flush(control: number): void {
    const { paging } = this.#cpu;
    const { asid } = this.controls;
    if (control === TLB_CONTROL.FLUSH_ALL) {
      paging.tlb.flushEverything();
      paging.dropAllCopies();
    } else if (control === TLB_CONTROL.FLUSH_ASID) paging.tlb.flush(asid);
    else if (control === TLB_CONTROL.FLUSH_ASID_NON_GLOBAL) paging.tlb.flushLocal(asid);
    this.#switchAsid(asid, control === TLB_CONTROL.NOTHING);
  }

  /**
   * Goes on in another address space. Its translations are what the TLB has of it, whatever CR3 is by now; the copies for
   * interpreted code hold as long as the registers that rule over access rights are the same.
   */
  #switchAsid(asid: number, keep: boolean): void {
    this.#cpu.paging.switchAsid(asid, keep && this.#pagingOf[asid] === this.#pagingRegisters());
  }

  #notePaging(asid: number): void {
    this.#pagingOf[asid] = this.#pagingRegisters();
  }

  #pagingRegisters(): number {
    const { cr0, cr4, efer } = this.#cpu.state;
    const nested = this.#cpu.paging.isNested ? NESTED : 0;
    return (cr0 & PAGING_CR0) | (cr4 & PAGING_CR4) | (efer & EFER.NXE) | nested;
  }

  #breakpointsEnabled(): boolean {
    return (this.#cpu.state.system(SYSTEM.DR7) & BREAKPOINTS_ENABLED) !== 0;
  }

  /** Shadow and RF concern the guest's first instruction; TF traps behind it (APM vol. 2 15.5.1, 15.21.5). */
  #beginTime(page: VmcbPage): void {
    const cpu = this.#cpu;
    const first = cpu.completed;
    const shadow = (page.read(VMCB.INTERRUPT_STATE) & INTERRUPT_STATE.SHADOW) !== 0;
    cpu.shadowAt = shadow ? first : -1;
    // The VMCB does not say whose shadow it is: the stricter one.
    cpu.shadowFromStack = shadow;
    cpu.resumeFlagUntil = first;
    cpu.pendingDebug = 0;
    cpu.halted = false;
    cpu.delivered = true;
  }

  /** Writes the guest's state back, at an instruction boundary with RIP = `eip`. */
  saveGuest(eip: number, inDelivery: boolean): void {
    const cpu = this.#cpu;
    const page = this.#vmcb;
    let flags = cpu.state.eflags;
    // The instruction that RF was for is over; what an exception pushes has RF set by itself.
    if (!inDelivery && cpu.resumeFlagUntil < cpu.completed) flags &= ~EFLAGS.RF;
    storeSwitched(cpu, page, eip, flags);
    storeGuestOnly(cpu, page);
    const word = page.read(VMCB.V_INTR);
    page.write(VMCB.V_INTR, (word & ~WRITTEN_BACK) | (this.controls.virtualInterrupt & WRITTEN_BACK));
    page.write64(VMCB.INTERRUPT_STATE, cpu.shadowAt === cpu.completed ? INTERRUPT_STATE.SHADOW : 0, 0);
    if (cpu.paging.isNested) {
      const pat = cpu.msrs.get(MSR.PAT);
      if (pat !== undefined) page.write64(VMCB_SAVE.G_PAT, pat.lo, pat.hi);
    }
    this.#notePaging(this.controls.asid);
  }

  /** Writes why the guest ended (APM vol. 2 15.7); EVENTINJ is cleared. */
  writeExit(exit: ExitInformation): void {
    const page = this.#vmcb;
    page.write64(VMCB.EXITCODE, exit.code, exit.code < 0 ? -1 : 0);
    page.write64(VMCB.EXITINFO1, exit.info1, exit.info1Hi);
    page.write64(VMCB.EXITINFO2, exit.info2, exit.info2Hi);
    page.write64(VMCB.EXITINTINFO, exit.event, exit.eventError);
    page.write64(VMCB.EVENTINJ, 0, 0);
    if (this.#savesNextRip) page.write64(VMCB.NRIP, exit.nextRip, 0);
    if (this.#savesBytes) {
      if (exit.byteCount === 0) page.writeByte(VMCB.INSTRUCTION_COUNT, 0);
      else
        for (let word = 0; word < 4; word++) page.write(VMCB.INSTRUCTION_COUNT + word * 4, exit.bytes[word]);
    }
    page.written();
  }

  /** Reloads the host (APM vol. 2 15.6). False if its state is illegal: the processor shuts down. */
  loadHost(): boolean {
    const cpu = this.#cpu;
    const { state } = cpu;
    const page = this.#host;
    page.attach(page.address);
    const watched = this.#breakpointsEnabled();
    const legal = this.#checks.hostIsLegal(page);
    this.#leaveNestedPaging();
    loadSwitched(cpu, page);
    state.setSystem(SYSTEM.CR0, (state.cr0 | CR0.PE) >>> 0);
    state.systemFlags &= ~EFLAGS.VM;
    state.setSystem(SYSTEM.DR7, DR7_FIXED_ONE);
    cpu.cpl = 0;
    if (this.#usesPae()) this.#pdptes.commit();
    this.controls.clear();
    this.#switchAsid(0, true);
    if (watched) cpu.watchDataBreakpoints();
    cpu.updateContext();
    this.#endTime();
    return legal;
  }

  #leaveNestedPaging(): void {
    if (!this.#cpu.paging.isNested) return;
    this.#cpu.paging.leaveNested();
    this.#cpu.msrs.leaveGuestPat();
  }

  /** The host's own TF traps behind VMRUN, which is over now (APM vol. 2 15.5.1). */
  #endTime(): void {
    const cpu = this.#cpu;
    cpu.shadowAt = -1;
    cpu.resumeFlagUntil = -1;
    cpu.halted = false;
    cpu.delivered = true;
    const trap = (cpu.state.systemFlags & EFLAGS.TF) !== 0;
    cpu.pendingDebug = trap ? DR6.BS : 0;
    if (trap) cpu.endSlice();
  }

  reset(): void {
    this.#leaveNestedPaging();
    this.controls.clear();
    this.#pagingOf.fill(NEVER_RAN);
    this.hostInterrupts = false;
  }
}
