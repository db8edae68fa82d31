import type { AddressSpaceModel } from '../oracle/address-space.ts';
import type { RegisterWrite } from '../oracle/control-registers.ts';
import type { PatRegisters } from '../oracle/svm/pat.ts';
import { entryValue } from './entry.ts';
import { registersOf } from './expect-vmrun.ts';
import { type Placement, placeOf, resolve } from './placement.ts';
import { FLAG_BITS, type PagingRegisters } from './registers.ts';
import type { EditStep, EntryEdit, Step } from './scenario.ts';
import { type Alternative, generalProtectionAt, NOTHING, valueAt } from './step-expectation.ts';
import type { Tracker } from './tracker.ts';

/** A step that has one outcome and leaves the level as it is. */
export type PlainStep = Exclude<Step, { do: 'probe' | 'enter' | 'leave' }>;

/** Bits of an MSR that nobody has written. */
const ANY = 0xffff_ffff_ffff_ffffn;

/** Carries out plain steps on the oracle's model of memory and registers. */
export class PlainSteps {
  readonly #model: AddressSpaceModel;
  readonly #placement: Placement;
  readonly #tracker: Tracker;
  readonly #pats: PatRegisters;

  constructor(model: AddressSpaceModel, placement: Placement, tracker: Tracker, pats: PatRegisters) {
    this.#model = model;
    this.#placement = placement;
    this.#tracker = tracker;
    this.#pats = pats;
  }

  /** What comes of a step of `level`, which is carried out. */
  expect(step: PlainStep, level: 1 | 2): Alternative {
    const placement = this.#placement;
    switch (step.do) {
      case 'switch': {
        const refused = this.switchTo(this.#tracker.spaceFor(step).registers);
        return refused === undefined ? valueAt(level, this.#model.cpu.cr0) : generalProtectionAt(level);
      }
      case 'set': {
        const { register, bit } = FLAG_BITS[step.flag];
        const before = this.#model.cpu[register];
        const after = step.value ? before | BigInt(bit >>> 0) : before & ~BigInt(bit >>> 0);
        return registerWrite(level, this.#writeRegister(register, after), () => this.#model.cpu[register]);
      }
      case 'load-cr3':
        return registerWrite(
          level,
          this.#model.writeCr3(BigInt(resolve(placement, step.root))),
          () => this.#model.cpu.cr3,
        );
      case 'reload-cr3':
        return registerWrite(level, this.#model.writeCr3(this.#model.cpu.cr3), () => this.#model.cpu.cr3);
      case 'edit':
        this.edit(step);
        return NOTHING;
      case 'write':
        this.#model.store(
          BigInt(placeOf(placement, step.page) + step.offset),
          step.width,
          BigInt(step.value >>> 0),
        );
        return NOTHING;
      case 'read': {
        const at = BigInt(placeOf(placement, step.page) + step.offset);
        return valueAt(level, this.#model.memory.read(at, step.width), this.#model.unknown(at, step.width));
      }
      case 'invlpg':
        this.#model.invlpg(BigInt(step.at));
        return NOTHING;
      case 'invlpga':
        this.#model.invlpga(BigInt(step.at), step.asid);
        return NOTHING;
      case 'host': {
        const page = BigInt(placeOf(placement, step.page));
        if (step.action === 'remove') this.#model.removeMemory(page);
        else if (step.action === 'return') this.#model.returnMemory(page);
        return NOTHING;
      }
      case 'pat': {
        if (step.value !== undefined && !this.#pats.write(BigInt(step.value)))
          return generalProtectionAt(level);
        const pat = this.#pats.read();
        return pat === undefined ? valueAt(level, 0n, ANY) : valueAt(level, pat);
      }
      case 'registers':
        return {
          records: [{ kind: 'registers', level: level, ...registersOf(this.#model.cpu) }],
          source: 'tables',
        };
    }
  }

  /** Writes an entry, in the stores that the step asks for. */
  edit(step: EntryEdit & Pick<EditStep, 'stores'>): void {
    const placement = this.#placement;
    const at = BigInt(placeOf(placement, step.page) + step.index * step.width);
    const { lo, hi } = entryValue(step.entry, step.width, placement);
    const low = (): void => this.#model.store(at, 4, BigInt(lo));
    const high = (): void => this.#model.store(at + 4n, 4, BigInt(hi));
    if (step.width === 4) low();
    else if (step.stores === 'low-first') {
      low();
      high();
    } else if (step.stores === 'high-first') {
      high();
      low();
    } else this.#model.store(at, 8, (BigInt(hi) << 32n) | BigInt(lo));
  }

  /** What the agents' SWITCH step does, in its order. Answers the rule that refused a write, if one did. */
  switchTo({ cr0, cr3, cr4, efer }: PagingRegisters): string | undefined {
    const writes: (() => RegisterWrite)[] = [
      () => this.#model.writeCr0(this.#model.cpu.cr0 & 0x7fff_ffffn),
      () => this.#model.writeEfer(BigInt(efer)),
      () => this.#model.writeCr4(BigInt(cr4)),
      () => this.#model.writeCr3(BigInt(cr3)),
      () => this.#model.writeCr0(BigInt(cr0)),
    ];
    for (const write of writes) {
      const result = write();
      if (result.outcome !== 'ok') return result.reason;
    }
    return undefined;
  }

  #writeRegister(register: 'cr0' | 'cr4' | 'efer', value: bigint): RegisterWrite {
    if (register === 'cr0') return this.#model.writeCr0(value);
    return register === 'cr4' ? this.#model.writeCr4(value) : this.#model.writeEfer(value);
  }
}

const registerWrite = (level: 1 | 2, result: RegisterWrite, after: () => bigint): Alternative =>
  result.outcome === 'ok' ? valueAt(level, after()) : generalProtectionAt(level);
