/** Acceptance and priorities of a local APIC's fixed interrupts: IRR, ISR, TMR, TPR (SDM vol. 3A 10.8). */
import { VectorSet } from './apic-vectors.ts';

export const NO_VECTOR = -1;

const CLASS = 0xf0;

export class ApicPriority {
  readonly irr = new VectorSet();
  readonly isr = new VectorSet();
  /** Vectors accepted as level triggered. */
  readonly tmr = new VectorSet();
  tpr = 0;

  reset(): void {
    this.irr.clear();
    this.isr.clear();
    this.tmr.clear();
    this.tpr = 0;
  }

  /** An interrupt arrives; a second one of the same vector merges with one that waits. */
  accept(vector: number, levelTriggered: boolean): void {
    this.irr.add(vector);
    if (levelTriggered) this.tmr.add(vector);
    else this.tmr.delete(vector);
  }

  /** The waiting vector whose class is above the processor's, or NO_VECTOR. */
  get deliverable(): number {
    const vector = this.irr.highest;
    return vector !== NO_VECTOR && (vector & CLASS) > (this.ppr & CLASS) ? vector : NO_VECTOR;
  }

  /** A waiting vector goes into service. */
  take(vector: number): void {
    this.irr.delete(vector);
    this.isr.add(vector);
  }

  /** EOI: ends the highest in service, which is returned, or NO_VECTOR. */
  end(): number {
    const vector = this.isr.highest;
    if (vector !== NO_VECTOR) this.isr.delete(vector);
    return vector;
  }

  /** Processor priority register (10.8.3.1). */
  get ppr(): number {
    const inService = classOf(this.isr.highest);
    return (this.tpr & CLASS) >= inService ? this.tpr : inService;
  }

  /** Arbitration priority register (10.6.2.4). */
  get apr(): number {
    const waiting = classOf(this.irr.highest);
    const inService = classOf(this.isr.highest);
    const task = this.tpr & CLASS;
    return task >= waiting && task > inService ? this.tpr : Math.max(task, inService, waiting);
  }
}

const classOf = (vector: number): number => (vector === NO_VECTOR ? 0 : vector & CLASS);
