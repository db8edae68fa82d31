/** The local APIC in xAPIC mode (SDM vol. 3A chapter 10). */
import type { Clock } from '../clock.ts';
import type { MmioBus } from '../mmio-bus.ts';
import type { AccessSize, InterruptLine, InterruptSource, MmioDevice } from '../ports.ts';
import { ApicBase } from './apic-base.ts';
import {
  type ApicMessage,
  DELIVERY_MODE,
  decodeIcr,
  ICR_LOW_WRITABLE,
  isDestination,
  isFixed,
  LOWEST_VECTOR,
  SHORTHAND,
} from './apic-messages.ts';
import { ApicPriority, NO_VECTOR } from './apic-priority.ts';
import { ApicTimer } from './apic-timer.ts';
import { APIC, ESR, LVT, SVR } from './local-apic-registers.ts';
import { ENTRY, LocalVectorTable } from './local-vector-table.ts';

/** Pentium 4 kind with six LVT entries, without suppression of EOI broadcasts (SDM vol. 3A 10.4.8). */
const VERSION = 0x0005_0014;
const REGISTER_SPACING = 0x10;

export interface LocalApicOptions {
  readonly clock: Clock;
  /** The 8259 pair, wired to LINT0: its INT pin is `lint0`, its vectors come from here. */
  readonly pic: InterruptSource;
  /** Initial APIC ID; 0 unless given. */
  readonly id?: number | undefined;
  /** A level-triggered interrupt ended; goes to the I/O APIC. */
  readonly onEoi: (vector: number) => void;
  readonly onNmi: () => void;
  /** INIT is the processor's to take or to refuse; when it takes it, it calls `init`. */
  readonly onInit?: (() => void) | undefined;
  readonly onSmi?: (() => void) | undefined;
  /** `pending` became true. */
  readonly onPending?: (() => void) | undefined;
}

export class LocalApic implements MmioDevice, InterruptSource {
  readonly #options: LocalApicOptions;
  readonly #timer: ApicTimer;
  readonly #priority = new ApicPriority();
  readonly #lvt = new LocalVectorTable((mode, vector, level) => this.#accept(mode, vector, level));

  readonly #base = new ApicBase(this);

  #id = 0;
  #ldr = 0;
  #dfr = 0;
  #svr = 0;
  #icrLow = 0;
  #icrHigh = 0;
  #esr = 0;
  /** Errors since ESR was written last. */
  #errors = 0;
  #reportingError = false;
  /** An I/O APIC forwarded the 8259's request as a message. */
  #extIntMessage = false;
  #pending = false;

  readonly lint0: InterruptLine = { set: (level) => this.#setLint(0, level) };
  readonly lint1: InterruptLine = { set: (level) => this.#setLint(1, level) };

  constructor(options: LocalApicOptions) {
    this.#options = options;
    this.#timer = new ApicTimer(options.clock, () => this.#lvt.deliver(ENTRY.TIMER));
    this.reset();
  }

  /** Puts the registers where APIC_BASE says, and moves them with it. */
  attach(mmio: MmioBus): void {
    this.#base.attach(mmio);
  }

  /** Power-up, reset and what a global disable leaves (10.4.7.1): enabled at FEE00000h, all of the LVT masked. */
  reset(): void {
    this.#id = (this.#options.id ?? 0) << 24;
    this.init();
    this.#base.reset();
    this.#update();
  }

  /** INIT: as reset, but ID and base stay (10.4.7.3). */
  init(): void {
    this.#priority.reset();
    this.#lvt.reset();
    this.#ldr = 0;
    this.#dfr = 0xffff_ffff;
    this.#svr = SVR.VECTOR;
    this.#icrLow = 0;
    this.#icrHigh = 0;
    this.#esr = 0;
    this.#errors = 0;
    this.#extIntMessage = false;
    this.#timer.reset();
    this.#update();
  }

  /** APIC_BASE, low and high half (10.4.4). Reserved bits are the processor's to check; BSP cannot be written. */
  get baseLo(): number {
    return this.#base.lo;
  }

  set baseLo(lo: number) {
    const wasEnabled = this.enabled;
    this.#base.set(lo, this.#base.hi);
    // A disabled APIC forgets all state (10.4.3).
    if (wasEnabled && !this.enabled) this.init();
    this.#update();
  }

  get baseHi(): number {
    return this.#base.hi;
  }

  set baseHi(hi: number) {
    this.#base.set(this.#base.lo, hi);
  }

  /** The global enable in APIC_BASE. CPUID shows the APIC feature only while it is set. */
  get enabled(): boolean {
    return this.#base.enabled;
  }

  /** The APIC ID, 8 bits; CPUID leaf 1 shows the initial one. */
  get id(): number {
    return this.#id >>> 24;
  }

  /** CR8: bits 7:4 of TPR (10.8.6). */
  get taskPriority(): number {
    return this.#priority.tpr >> 4;
  }

  set taskPriority(value: number) {
    this.#writeTpr((value & 0xf) << 4);
  }

  get pending(): boolean {
    return this.#pending;
  }

  acknowledge(): number {
    if (this.#extIntPending) {
      this.#extIntMessage = false;
      const vector = this.#options.pic.acknowledge();
      this.#update();
      return vector;
    }
    const vector = this.enabled ? this.#priority.deliverable : NO_VECTOR;
    // The request was withdrawn or TPR raised since INTR: the spurious vector, without ISR bit (10.9).
    if (vector === NO_VECTOR) return this.#svr & SVR.VECTOR;
    this.#priority.take(vector);
    this.#update();
    return vector;
  }

  /** A message on the APIC bus; ignored unless it is for this APIC. */
  receive(message: ApicMessage): void {
    if (this.enabled && this.#isFor(message))
      this.#accept(message.mode, message.vector, message.levelTriggered);
  }

  readMmio(offset: number, _size: AccessSize): number {
    // Registers are 32 bits wide in slots of 16 bytes; smaller reads take a part (model specific, 10.4.1).
    const within = offset % REGISTER_SPACING;
    return within < 4 ? this.#read(offset - within) >>> (within * 8) : 0;
  }

  writeMmio(offset: number, size: AccessSize, value: number): void {
    if (size === 4 && offset % REGISTER_SPACING === 0) this.#write(offset, value);
  }

  #read(offset: number): number {
    if (offset >= APIC.ISR && offset < APIC.ESR) return this.#readVectors(offset);
    if (isLvt(offset)) return this.#lvt.read((offset - APIC.LVT_TIMER) / REGISTER_SPACING);
    switch (offset) {
      case APIC.ID:
        return this.#id;
      case APIC.VERSION:
        return VERSION;
      case APIC.TPR:
        return this.#priority.tpr;
      case APIC.APR:
        return this.#priority.apr;
      case APIC.PPR:
        return this.#priority.ppr;
      case APIC.EOI:
      case APIC.RRD:
        return 0;
      case APIC.LDR:
        return this.#ldr;
      case APIC.DFR:
        return this.#dfr;
      case APIC.SVR:
        return this.#svr;
      case APIC.ESR:
        return this.#esr;
      case APIC.ICR_LOW:
        return this.#icrLow;
      case APIC.ICR_HIGH:
        return this.#icrHigh;
      case APIC.INITIAL_COUNT:
        return this.#timer.initialCount;
      case APIC.CURRENT_COUNT:
        return this.#timer.currentCount;
      case APIC.DIVIDE:
        return this.#timer.divideConfiguration;
      default:
        this.#fail(ESR.ILLEGAL_REGISTER);
        return 0;
    }
  }

  #readVectors(offset: number): number {
    const { isr, tmr, irr } = this.#priority;
    const set = offset < APIC.TMR ? isr : offset < APIC.IRR ? tmr : irr;
    return set.word((offset / REGISTER_SPACING) & 7);
  }

  #write(offset: number, value: number): void {
    if (isLvt(offset)) {
      this.#writeLvt((offset - APIC.LVT_TIMER) / REGISTER_SPACING, value);
      return;
    }
    switch (offset) {
      case APIC.ID:
        this.#id = value & 0xff00_0000;
        break;
      case APIC.TPR:
        this.#writeTpr(value & 0xff);
        break;
      case APIC.EOI:
        this.#endOfInterrupt();
        break;
      case APIC.LDR:
        this.#ldr = value & 0xff00_0000;
        break;
      case APIC.DFR:
        this.#dfr = value | 0x0fff_ffff;
        break;
      case APIC.SVR:
        this.#writeSvr(value);
        break;
      case APIC.ESR:
        this.#esr = this.#errors;
        this.#errors = 0;
        break;
      case APIC.ICR_LOW:
        this.#icrLow = value & ICR_LOW_WRITABLE;
        this.#send();
        break;
      case APIC.ICR_HIGH:
        this.#icrHigh = value & 0xff00_0000;
        break;
      case APIC.INITIAL_COUNT:
        this.#timer.initialCount = value >>> 0;
        break;
      case APIC.DIVIDE:
        this.#timer.divideConfiguration = value;
        break;
      default:
        if (!isReadOnly(offset)) this.#fail(ESR.ILLEGAL_REGISTER);
    }
  }

  #writeTpr(value: number): void {
    this.#priority.tpr = value;
    this.#update();
  }

  /** Software disable masks the whole LVT; what waits or is in service stays (10.4.7.2). */
  #writeSvr(value: number): void {
    this.#svr = value & SVR.WRITABLE;
    if (this.#softwareEnabled) return;
    this.#lvt.maskAll();
    this.#followTimer();
    this.#update();
  }

  get #softwareEnabled(): boolean {
    return (this.#svr & SVR.ENABLE) !== 0;
  }

  #writeLvt(entry: number, value: number): void {
    this.#lvt.write(entry, value, !this.#softwareEnabled);
    if (entry === ENTRY.TIMER) this.#followTimer();
    this.#update();
  }

  #followTimer(): void {
    this.#timer.setMode((this.#lvt.read(ENTRY.TIMER) & LVT.PERIODIC) !== 0, this.#lvt.isMasked(ENTRY.TIMER));
  }

  /** Without APIC the pins are INTR and NMI again (10.4.3). */
  #setLint(pin: 0 | 1, level: boolean): void {
    const rises = level && !this.#lvt.isAsserted(pin);
    this.#lvt.setLint(pin, level, this.enabled);
    if (!this.enabled && rises && pin === 1) this.#options.onNmi();
    this.#update();
  }

  #endOfInterrupt(): void {
    const vector = this.#priority.end();
    if (vector !== NO_VECTOR && this.#priority.tmr.has(vector)) {
      this.#options.onEoi(vector);
      this.#lvt.end(vector);
    }
    this.#update();
  }

  /** Sends what ICR says; with one processor only messages to itself arrive anywhere (10.6.1). */
  #send(): void {
    const { message, shorthand, isDeassert } = decodeIcr(this.#icrLow, this.#icrHigh);
    if (isFixed(message.mode) && message.vector < LOWEST_VECTOR) {
      this.#fail(ESR.SEND_ILLEGAL_VECTOR);
      return;
    }
    const toSelf = shorthand === SHORTHAND.NONE ? this.#isFor(message) : shorthand !== SHORTHAND.OTHERS;
    if (toSelf && !isDeassert) this.#accept(message.mode, message.vector, false);
  }

  #isFor(message: ApicMessage): boolean {
    return isDestination(message, this.id, this.#ldr, this.#dfr);
  }

  #accept(mode: number, vector: number, levelTriggered: boolean): void {
    switch (mode) {
      case DELIVERY_MODE.FIXED:
      case DELIVERY_MODE.LOWEST_PRIORITY:
        if (vector < LOWEST_VECTOR) this.#fail(ESR.RECEIVE_ILLEGAL_VECTOR);
        else if (this.#softwareEnabled) this.#priority.accept(vector, levelTriggered);
        break;
      case DELIVERY_MODE.SMI:
        this.#options.onSmi?.();
        break;
      case DELIVERY_MODE.NMI:
        this.#options.onNmi();
        break;
      case DELIVERY_MODE.INIT:
        this.#options.onInit?.();
        break;
      case DELIVERY_MODE.EXTINT:
        this.#extIntMessage = true;
    }
    this.#update();
  }

  /** Collects an error for ESR; an error of the error interrupt itself raises no further one (10.5.3). */
  #fail(error: number): void {
    this.#errors |= error;
    if (this.#reportingError) return;
    this.#reportingError = true;
    this.#lvt.deliver(ENTRY.ERROR);
    this.#reportingError = false;
  }

  get #extIntPending(): boolean {
    if (!this.enabled) return this.#lvt.isAsserted(0);
    return this.#extIntMessage || this.#lvt.extIntPending;
  }

  #update(): void {
    const pending = this.#extIntPending || (this.enabled && this.#priority.deliverable !== NO_VECTOR);
    const rises = pending && !this.#pending;
    this.#pending = pending;
    if (rises) this.#options.onPending?.();
  }
}

const isLvt = (offset: number): boolean => offset >= APIC.LVT_TIMER && offset <= APIC.LVT_ERROR;

const isReadOnly = (offset: number): boolean =>
  (offset >= APIC.ISR && offset < APIC.ESR) ||
  [APIC.VERSION, APIC.APR, APIC.PPR, APIC.RRD, APIC.CURRENT_COUNT].some((register) => register === offset);
