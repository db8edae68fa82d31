/**
 * A VM on the fake processor, and beside it the oracle's model of the same guest: every operation is done by both, and the
 * oracle says whether what the guest saw is what a processor could have shown it.
 */
import { gpa, hpa } from '../../src/arch/address.ts';
import { cpuModelNamed } from '../../src/arch/cpu-models.ts';
import { CR0, EFER } from '../../src/arch/registers.ts';
import { INTERCEPT2, VMCB, VMCB_SAVE } from '../../src/arch/vmcb.ts';
import type { Environment } from '../../src/cpu/environment.ts';
import { Hypervisor } from '../../src/l0/hypervisor.ts';
import type { Vcpu } from '../../src/l0/vcpu.ts';
import { setInitialState } from '../../src/l0/vcpu-registers.ts';
import type { Vm } from '../../src/l0/vm.ts';
import { protectedState } from '../../src/machine/loaders/initial-state.ts';
import { AddressSpaceModel } from '../../src/oracle/address-space.ts';
import type { RegisterWrite } from '../../src/oracle/control-registers.ts';
import { type OracleCpu, oracleCpu, oracleFeatures } from '../../src/oracle/cpu.ts';
import { describeProbe, type EntryChange, judge, type Seen } from '../../src/oracle/judge.ts';
import { SparseMemory, type Width } from '../../src/oracle/memory.ts';
import {
  byteAddresses,
  type Probe,
  probeOutcomes,
  type Segment,
  settleProbe,
} from '../../src/oracle/probe.ts';
import { FakeHardware, type Operation, type Result } from './fake-hardware.ts';

const MIB = 0x10_0000;
const HOST_SIZE = 20 * MIB;
const OWNED = { base: hpa(0), size: 3 * MIB };

/** Guest RAM: one slot that large pages fit, a hole, and one that they do not fit. */
export const SLOTS = [
  { guest: 0, host: 8 * MIB, size: 4 * MIB },
  { guest: 5 * MIB, host: 4 * MIB + 0x3000, size: MIB },
] as const;

const FEATURES = oracleFeatures({ syscall: false, ffxsr: false, umip: false });

export interface BenchOptions {
  readonly environment?: Environment;
  readonly shadowPageLimit?: number;
  readonly check?: boolean;
}

/** L2's registers for a VMRUN. */
export interface GuestRegisters {
  readonly cr0: number;
  readonly cr3: number;
  readonly cr4: number;
  readonly efer: number;
  readonly cpl: 0 | 3;
  readonly asid: number;
  readonly tlbControl: number;
}

export class Bench {
  readonly hardware: FakeHardware;
  readonly vm: Vm;
  readonly vcpu: Vcpu;
  readonly model: AddressSpaceModel;
  readonly modelMemory: SparseMemory;
  /** What happened, for messages. */
  readonly log: string[] = [];
  #l1: OracleCpu | null = null;

  constructor(options: BenchOptions = {}) {
    const model = cpuModelNamed('current-amd')!;
    this.hardware = new FakeHardware(model, HOST_SIZE);
    const hypervisor = new Hypervisor(this.hardware, OWNED);
    this.vm = hypervisor.createVm({
      model: hypervisor.guestModel(model),
      shadowPageLimit: options.shadowPageLimit ?? 128,
      check: options.check ?? true,
      ...(options.environment && { environment: options.environment }),
    });
    for (const { guest, host, size } of SLOTS) this.vm.addMemory(gpa(guest), { base: hpa(host), size });
    this.vcpu = this.vm.createVcpu();
    setInitialState(this.vcpu, protectedState(0x1000, {}, 8, 16, 0 as never));
    this.hardware.onIdle = () => this.vcpu.kick();
    this.modelMemory = new SparseMemory(
      SLOTS.map(({ guest, size }) => ({ base: BigInt(guest), size: BigInt(size) })),
    );
    this.model = new AddressSpaceModel(
      this.modelMemory,
      oracleCpu({ features: FEATURES, maxPhyAddr: model.maxPhysicalAddressBits }),
    );
  }

  get guestMode(): boolean {
    return this.#l1 !== null;
  }

  // --- memory --------------------------------------------------------------------------------------------------

  #host(address: number): number {
    return this.vm.slots.hostAddress(address);
  }

  /** Before the guest runs, or where it has no tables: both memories. */
  poke(address: number, value: bigint, width: 4 | 8): void {
    const at = this.#host(address) >>> 2;
    this.hardware.memory.u32[at] = Number(value & 0xffff_ffffn);
    if (width === 8) this.hardware.memory.u32[at + 1] = Number(value >> 32n);
    this.modelMemory.write(BigInt(address), width, value);
  }

  isRam(address: number): boolean {
    return this.#host(address) >= 0;
  }

  peek(address: number, width: 4 | 8): bigint {
    const at = this.#host(address) >>> 2;
    const low = BigInt(this.hardware.memory.u32[at]);
    return width === 8 ? low | (BigInt(this.hardware.memory.u32[at + 1]) << 32n) : low;
  }

  // --- operations ----------------------------------------------------------------------------------------------

  /** Has L0 run one operation. */
  do(operation: Operation): Result {
    const { program, results } = this.hardware;
    results.length = 0;
    program.push(operation);
    const exit = this.vcpu.run();
    if (exit.reason !== 'kicked')
      throw new Error(`L0 left with ${JSON.stringify(exit)} at ${JSON.stringify(operation)}`);
    const [result] = results;
    if (results.length !== 1 || result === undefined)
      throw new Error(`${results.length} results of one operation`);
    return result;
  }

  /** An access of the guest, judged by the oracle. Throws with a sentence on a mismatch. */
  access(access: 'read' | 'write' | 'fetch', linear: number, size: 1 | 2 | 4 | 8, value = 0n): Result {
    const probe: Probe = { kind: access, linear: BigInt(linear), size: size as Width, value };
    const outcomes = probeOutcomes(this.model, probe);
    const places = new Map<string, { address: bigint; width: 4 | 8; before: bigint }>();
    for (const { address, width } of outcomes.flatMap((outcome) => [...outcome.entries])) {
      places.set(`${address}/${width}`, { address, width, before: this.modelMemory.read(address, width) });
    }
    const [lo, hi] = [Number(value & 0xffff_ffffn), Number((value >> 32n) & 0xffff_ffffn)];
    const result = this.do({ kind: 'access', access, linear, size, lo, hi });
    const segments = outcomes.flatMap((outcome) => (outcome.outcome === 'ok' ? outcome.segments : []));
    const touched = (place: { address: bigint; width: 4 | 8 }): boolean =>
      segments.some(
        ({ address, bytes }) =>
          address < place.address + BigInt(place.width) && place.address < address + BigInt(bytes),
      );
    // Entries that the probe itself overwrites say nothing about the flags set before.
    const visible = [...places.values()].filter((place) => access !== 'write' || !touched(place));
    const entries: EntryChange[] = visible.map((place) => ({
      ...place,
      after: this.peek(Number(place.address), place.width),
    }));
    // What a probe reads of an entry of its own walk may or may not have the flags that the walk sets.
    const readsItself = access !== 'write' && [...places.values()].some(touched);
    const seen = seenOf(result, entries, readsItself ? null : size);
    this.log.push(`${describeProbe(probe)} -> ${JSON.stringify(result)}`);
    // Where a store went is seen in memory: of several permitted places only that one counts.
    const possible =
      access !== 'write' || result.outcome === 'fault'
        ? outcomes
        : outcomes.filter((outcome) => outcome.outcome !== 'ok' || this.#holds(outcome.segments, value));
    const verdict = judge(probe, possible, seen);
    if (!verdict.match) throw new Error(`${verdict.explanation}\nBefore:\n${this.log.slice(-12).join('\n')}`);
    settleProbe(
      this.model,
      probe,
      [verdict.outcome],
      entries.map(({ address, width, after }) => ({ address, width, value: after })),
    );
    return result;
  }

  /** Whether the bytes of `value` stand at these places; those outside memory always do. */
  #holds(segments: readonly Segment[], value: bigint): boolean {
    return byteAddresses(segments).every((address, i) => {
      const at = this.#host(Number(address));
      return at < 0 || BigInt(this.hardware.memory.u8[at]) === ((value >> BigInt(8 * i)) & 0xffn);
    });
  }

  cr(register: 0 | 3 | 4, value: number): void {
    const write = [this.model.writeCr0, undefined, undefined, this.model.writeCr3, this.model.writeCr4][
      register
    ]!;
    this.#register(`CR${register} = ${value.toString(16)}h`, write.call(this.model, BigInt(value)), {
      kind: 'cr',
      register,
      value,
    });
  }

  efer(value: number): void {
    this.#register(`EFER = ${value.toString(16)}h`, this.model.writeEfer(BigInt(value)), {
      kind: 'efer',
      value,
    });
  }

  #register(what: string, expected: RegisterWrite, operation: Operation): void {
    const result = this.do(operation);
    this.log.push(`${what} -> ${JSON.stringify(result)}`);
    const same =
      result.outcome === expected.outcome &&
      (result.outcome === 'ok' || (expected.outcome === 'fault' && result.vector === expected.vector));
    if (!same) {
      const why = expected.outcome === 'fault' ? expected.reason : 'it is legal';
      throw new Error(`${what} must be ${expected.outcome} (${why}), and was ${JSON.stringify(result)}`);
    }
  }

  invlpg(linear: number): void {
    this.model.invlpg(BigInt(linear));
    this.do({ kind: 'invlpg', linear });
    this.log.push(`INVLPG ${linear.toString(16)}h`);
  }

  privilege(cpl: 0 | 3, ac: boolean): void {
    this.model.adjust({ cpl, eflagsAc: ac });
    this.do({ kind: 'privilege', cpl, ac });
    this.log.push(`CPL ${cpl}, AC ${ac}`);
  }

  // --- nested --------------------------------------------------------------------------------------------------

  /** L1 fills the VMCB at guest-physical `address`; `more` are other fields and their low halves. */
  fillVmcb(
    address: number,
    guest: GuestRegisters,
    more: readonly (readonly [offset: number, value: number])[] = [],
  ): void {
    const set = (offset: number, value: number): void => this.poke(address + offset, BigInt(value >>> 0), 4);
    for (let offset = 0; offset < 0x700; offset += 4) set(offset, 0);
    set(VMCB.INTERCEPT_MISC2, INTERCEPT2.VMRUN | INTERCEPT2.VMMCALL);
    set(VMCB.GUEST_ASID, guest.asid);
    set(VMCB.TLB_CONTROL, guest.tlbControl);
    set(VMCB_SAVE.CR0, guest.cr0);
    set(VMCB_SAVE.CR3, guest.cr3);
    set(VMCB_SAVE.CR4, guest.cr4);
    set(VMCB_SAVE.EFER, guest.efer | EFER.SVME);
    set(VMCB_SAVE.CPL & ~3, guest.cpl << 24);
    set(VMCB_SAVE.RFLAGS, 2);
    set(VMCB_SAVE.RIP, 0x2000);
    for (const [offset, value] of more) set(offset, value);
  }

  /** L1 fills the VMCB and executes VMRUN. */
  vmrun(address: number, guest: GuestRegisters): 'entered' | 'invalid' {
    const l1 = this.model.cpu;
    this.fillVmcb(address, guest);
    const cpu: OracleCpu = {
      ...l1,
      cr0: BigInt(guest.cr0 | CR0.ET),
      cr3: BigInt(guest.cr3),
      cr4: BigInt(guest.cr4),
      efer: BigInt(guest.efer | EFER.SVME),
      cpl: guest.cpl,
      eflagsAc: false,
    };
    const expected = this.model.vmrun({ cpu, asid: guest.asid, tlbControl: guest.tlbControl });
    this.log.push(
      `VMRUN cr0 ${guest.cr0.toString(16)}h cr3 ${guest.cr3.toString(16)}h cr4 ${guest.cr4.toString(16)}h: ${expected}`,
    );
    this.do({ kind: 'vmrun', vmcb: address });
    const entered = this.vcpu.state.guestMode ? 'entered' : 'invalid';
    if (entered !== expected) throw new Error(`VMRUN must be ${expected} and was ${entered}`);
    if (entered === 'entered') this.#l1 = l1;
    return entered;
  }

  /** L2 calls L1. With illegal PDPTEs of L1 the processor shuts down, and the bench is of no more use. */
  vmmcall(): 'left' | 'shutdown' {
    const expected = this.model.vmexit(this.#l1!);
    this.#l1 = null;
    this.hardware.program.push({ kind: 'vmmcall' });
    const { reason } = this.vcpu.run();
    this.log.push(`VMMCALL -> ${reason}`);
    if (reason !== (expected === 'left' ? 'kicked' : 'shutdown'))
      throw new Error(`VMMCALL must have ${expected}, and ${reason}`);
    if (this.vcpu.state.guestMode) throw new Error('VMMCALL of L2 must end in L1');
    return expected;
  }

  /** Compares all RAM with the oracle's: nothing else may have been written. */
  compareMemory(from: number, to: number): void {
    for (let address = from; address < to; address += 4) {
      const expected = this.modelMemory.read(BigInt(address), 4);
      const doubt = this.model.unknown(BigInt(address), 4);
      const found = this.peek(address, 4);
      if (((expected ^ found) & ~doubt) !== 0n) {
        throw new Error(
          `memory at ${address.toString(16)}h must be ${expected.toString(16)}h and is ${found.toString(16)}h`,
        );
      }
    }
  }
}

function seenOf(result: Result, entries: readonly EntryChange[], size: number | null): Seen {
  if (result.outcome === 'fault') {
    return {
      outcome: 'fault',
      vector: result.vector,
      errorCode: result.errorCode,
      cr2: BigInt(result.cr2),
      entries,
    };
  }
  if (size === null) return { outcome: 'ok', entries };
  const value = BigInt(result.lo) | (BigInt(result.hi) << 32n);
  return { outcome: 'ok', value: BigInt.asUintN(8 * size, value), entries };
}
