/** The port at which a guest asks its host to act on the memory behind its pages (HOST_MEMORY in guest/agent-layout.ts). */
import { type Gpa, gpa, hpa, PAGE_SIZE } from '../arch/address.ts';
import { HOST_MEMORY } from '../guest/agent-layout.ts';
import type { Vm } from '../l0/vm.ts';
import type { IoBus } from '../machine/io-bus.ts';
import type { AccessSize, PortDevice } from '../machine/ports.ts';

const ACTIONS = (1 << HOST_MEMORY.MOVE) | (1 << HOST_MEMORY.REMOVE) | (1 << HOST_MEMORY.RETURN);
/**
 * Slots that a guest may break its VM's memory into, as KVM had for long. Every access that L0 makes for the guest looks
 * through them, and every page that is taken away copies what is known of a slot.
 */
const MOST_SLOTS = 512;
/** What a host page holds that a guest's page has moved away from: who still looks there shows it. */
const ABANDONED = 0xdd;

/**
 * Changes a VM's memory under it, as a host does that migrates pages or takes them back. Only frames that were the VM's
 * at the start are touched.
 */
export class HostMemoryPort implements PortDevice {
  readonly #vm: Vm;
  /** Host page to move the next guest page to: the one that was left last. */
  #spare = -1;
  /** Host page behind each guest frame that was removed. */
  readonly #removed = new Map<number, number>();

  constructor(vm: Vm) {
    this.#vm = vm;
  }

  attach(io: IoBus): void {
    io.claim({ name: 'host memory', first: HOST_MEMORY.PORT, count: 4, width: 4, device: this });
  }

  readPort(_port: number, size: AccessSize): number {
    return size === 4 ? ACTIONS : 0xffff_ffff;
  }

  /** A word that names no action, a page that is not the VM's, or one too many to take away, does nothing. */
  writePort(_port: number, size: AccessSize, value: number): void {
    if (size !== 4) return;
    const action = value % PAGE_SIZE;
    const frame = (value - action) / PAGE_SIZE;
    if (action === HOST_MEMORY.MOVE) this.#move(frame);
    else if (action === HOST_MEMORY.REMOVE) this.#remove(frame);
    else if (action === HOST_MEMORY.RETURN) this.#return(frame);
  }

  #move(frame: number): void {
    const { slots, hypervisor } = this.#vm;
    const slot = slots.find(frame);
    if (slot === undefined) return;
    const from = slot.pfn(frame);
    const to = this.#spare < 0 ? hypervisor.pages.allocate(1) / PAGE_SIZE : this.#spare;
    const { memory } = hypervisor.hardware;
    memory.u8.copyWithin(to * PAGE_SIZE, from * PAGE_SIZE, (from + 1) * PAGE_SIZE);
    this.#vm.moveMemory(addressOf(frame), hpa(to * PAGE_SIZE));
    memory.u8.fill(ABANDONED, from * PAGE_SIZE, (from + 1) * PAGE_SIZE);
    memory.written(hpa(from * PAGE_SIZE), PAGE_SIZE);
    memory.written(hpa(to * PAGE_SIZE), PAGE_SIZE);
    this.#spare = from;
  }

  #remove(frame: number): void {
    const { slots } = this.#vm;
    const slot = slots.find(frame);
    // One slot becomes two, and the page comes back as a third.
    if (slot === undefined || slots.count + this.#removed.size + 2 > MOST_SLOTS) return;
    this.#removed.set(frame, slot.pfn(frame));
    this.#vm.removePage(addressOf(frame));
  }

  #return(frame: number): void {
    const pfn = this.#removed.get(frame);
    if (pfn === undefined) return;
    this.#removed.delete(frame);
    this.#vm.addMemory(addressOf(frame), { base: hpa(pfn * PAGE_SIZE), size: PAGE_SIZE });
  }
}

const addressOf = (frame: number): Gpa => gpa(frame * PAGE_SIZE);
