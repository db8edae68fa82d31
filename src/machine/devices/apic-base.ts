/** APIC_BASE: the global enable of the local APIC, and where its page lies (SDM vol. 3A 10.4.4, 10.4.5). */
import { PAGE_SIZE } from '../../arch/address.ts';
import { APIC_BASE, APIC_BASE_RESET } from '../../arch/msrs.ts';
import type { MmioBus, MmioRegion } from '../mmio-bus.ts';
import type { MmioDevice } from '../ports.ts';

export class ApicBase {
  readonly #device: MmioDevice;
  #lo = (APIC_BASE_RESET | APIC_BASE.BSP | APIC_BASE.ENABLE) >>> 0;
  #hi = 0;
  #bus: MmioBus | undefined;
  #region: MmioRegion | undefined;

  /** @param device the registers in the page */
  constructor(device: MmioDevice) {
    this.#device = device;
  }

  attach(bus: MmioBus): void {
    this.#bus = bus;
    this.#place();
  }

  reset(): void {
    this.set(APIC_BASE_RESET | APIC_BASE.ENABLE, 0);
  }

  get lo(): number {
    return this.#lo;
  }

  get hi(): number {
    return this.#hi;
  }

  get enabled(): boolean {
    return (this.#lo & APIC_BASE.ENABLE) !== 0;
  }

  /** Takes both halves; BSP is read-only. The page moves at once. */
  set(lo: number, hi: number): void {
    this.#lo = ((lo & (APIC_BASE.BASE | APIC_BASE.ENABLE)) | APIC_BASE.BSP) >>> 0;
    this.#hi = hi >>> 0;
    this.#place();
  }

  #place(): void {
    if (!this.#bus) return;
    if (this.#region) this.#bus.unmap(this.#region);
    this.#region = undefined;
    if (!this.enabled) return;
    const base = this.#hi * 2 ** 32 + ((this.#lo & APIC_BASE.BASE) >>> 0);
    this.#region = { name: 'local APIC', base, size: PAGE_SIZE, device: this.#device };
    this.#bus.mapInCore(this.#region);
  }
}
