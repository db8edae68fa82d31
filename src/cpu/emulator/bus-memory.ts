import type { Gva } from '../../arch/address.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import type { GuestException } from '../guest-exception.ts';
import type { LinearMemory } from '../linear-memory.ts';

/**
 * An exception as the owner of the memory reports it; `errorCode` -1 for none, `address` is CR2 of a page fault. Vector
 * NESTED_PAGE_FAULT ends the emulation like an exception, and nothing else of it is looked at.
 */
interface BusFault {
  readonly vector: number;
  readonly errorCode: number;
  readonly address: number;
}

/**
 * Memory, ports and code bytes as somebody else supplies them, for one instruction. See `EmulatorBus` in
 * src/l0/hardware.ts for what each member promises; this is its shape as the processor sees it.
 */
export interface SuppliedBus {
  fetch(linear: Gva): number;
  check(linear: Gva, size: number, access: 0 | 1, supervisor: boolean, implicit: boolean): boolean;
  read(linear: Gva, size: number, supervisor: boolean, implicit: boolean): number;
  readonly high: number;
  write(linear: Gva, size: number, lo: number, hi: number, supervisor: boolean, implicit: boolean): void;
  portIn(port: number, size: 1 | 2 | 4): number;
  portOut(port: number, size: 1 | 2 | 4, value: number): void;
  loadCr3(value: number): boolean;
  readonly fault: BusFault;
}

const isSupervisor = (access: number): boolean => (access & ACCESS.USER) === 0;
const isImplicit = (access: number): boolean => (access & ACCESS.IMPLICIT) !== 0;

/** Linear memory that a `SuppliedBus` answers for. */
export class BusMemory implements LinearMemory {
  bus: SuppliedBus | undefined;
  readonly #exception: GuestException;

  constructor(exception: GuestException) {
    this.#exception = exception;
  }

  allows(linear: number, size: number, access: number): boolean {
    const write = (access & ACCESS.WRITE) !== 0 ? 1 : 0;
    if (this.#bus.check(linear as Gva, size, write, isSupervisor(access), isImplicit(access))) return true;
    this.takeFault();
    return false;
  }

  check(linear: number, size: number, access: number): void {
    if (!this.allows(linear, size, access)) throw this.#exception;
  }

  read(linear: number, size: 1 | 2 | 4, access: number): number {
    this.check(linear, size, access);
    return this.#bus.read(linear as Gva, size, isSupervisor(access), isImplicit(access)) >>> 0;
  }

  write(linear: number, size: 1 | 2 | 4, value: number, access: number): void {
    this.check(linear, size, access | ACCESS.WRITE);
    this.#bus.write(linear as Gva, size, value >>> 0, 0, isSupervisor(access), isImplicit(access));
  }

  /** Eight bytes in one piece. */
  write64(linear: number, lo: number, hi: number, access: number): void {
    this.check(linear, 8, access | ACCESS.WRITE);
    this.#bus.write(linear as Gva, 8, lo >>> 0, hi >>> 0, isSupervisor(access), isImplicit(access));
  }

  loadCr3(value: number): void {
    if (this.#bus.loadCr3(value)) return;
    this.takeFault();
    throw this.#exception;
  }

  /** Takes the bus's fault over as the exception of the instruction. */
  takeFault(): void {
    const { vector, errorCode, address } = this.#bus.fault;
    this.#exception.vector = vector;
    this.#exception.errorCode = errorCode;
    this.#exception.linear = address;
  }

  get #bus(): SuppliedBus {
    if (this.bus === undefined) throw new Error('no instruction is being emulated');
    return this.bus;
  }
}
