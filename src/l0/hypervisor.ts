/**
 * L0 on a processor: takes it over from the host kernel, owns its ASIDs and L0's pages, and makes VMs.
 */
import { type FeatureName, featureNamed } from '../arch/cpu-features.ts';
import type { CpuModel } from '../arch/cpu-models.ts';
import { CR0, CR4, EFER, MSR } from '../arch/registers.ts';
import { type L0Paging, offeredModel, refusals } from './guest-cpu.ts';
import type { Halves, Hardware, HostRange } from './hardware.ts';
import { HostPages } from './pages.ts';
import { AsidPool } from './svm/asid.ts';
import { allPorts, guestMsrs } from './svm/permission-maps.ts';
import { Vmcb } from './svm/vmcb.ts';
import type { Vcpu } from './vcpu.ts';
import { Vm, type VmOptions } from './vm.ts';

/** L0 cannot run here. The message says what is missing. */
export class UnsupportedHost extends Error {
  override readonly name = 'UnsupportedHost';
}

/** L0 cannot offer this CPU to a guest here. The message says which features are in the way. */
export class UnsupportedGuest extends Error {
  override readonly name = 'UnsupportedGuest';
}

const EXTENDED_LEAVES = 0x8000_0000;
const EXTENDED_FEATURES = 0x8000_0001;
const ADDRESS_SIZES = 0x8000_0008;
const SVM_FEATURES = 0x8000_000a;
const ECX_SVM = 1 << 2;
const EDX_NX = 1 << 20;
const EDX_NPT = 1 << 0;
const EDX_NRIP = 1 << 3;
const EDX_FLUSH_BY_ASID = 1 << 6;
const EDX_DECODE_ASSISTS = 1 << 7;
const VM_CR_SVMDIS = 1 << 4;

/** What a guest has from L0 and the devices of its machine, not from the processor. */
const OWN: readonly FeatureName[] = ['hypervisor', 'apic'];

export interface HypervisorOptions {
  /** How guests' addresses are translated; 'shadow' unless given. */
  readonly paging?: L0Paging;
}

export class Hypervisor {
  readonly hardware: Hardware;
  readonly paging: L0Paging;
  /** L0's nested tables, if it has any, can forbid execution: the host's own paging can. */
  readonly nestedNx: boolean;
  /** Nested page faults say whether they are of fetches: the host has NX or SMEP in force (APM vol. 2 15.25.6). */
  readonly reportsFetches: boolean;
  readonly pages: HostPages;
  readonly asids: AsidPool;
  /** The host kernel's registers as its boot code left them. */
  readonly host: { readonly cr0: number; readonly cr3: number; readonly cr4: number; readonly efer: number };
  /** The processor saves the rIP after an intercepted instruction (CPUID Fn8000_000A_EDX[NRIPS]). */
  readonly nextRip: boolean;
  /** It decodes operands of intercepted instructions (DecodeAssists). */
  readonly decodeAssists: boolean;
  readonly iopm: number;
  readonly msrpm: number;
  /** Where VMSAVE keeps the host's FS, GS, TR, LDTR while a guest's are loaded. */
  readonly #hostVmcb: Vmcb;
  #loaded: Vcpu | null = null;

  /**
   * Takes the processor over: turns SVM on and reserves L0's own structures.
   *
   * @param owned pages for L0 alone, below 4 GiB
   * @throws UnsupportedHost without SVM; without NX, since L0 shadows with EFER.NXE = 1 (APM vol. 2 5.6.3); and for nested
   * paging also without that feature, or on a host that does not page (APM vol. 2 15.25.3)
   */
  constructor(hardware: Hardware, owned: HostRange, options: HypervisorOptions = {}) {
    this.hardware = hardware;
    this.paging = options.paging ?? 'shadow';
    const extended = hardware.cpuid(EXTENDED_FEATURES, 0);
    if ((extended.ecx & ECX_SVM) === 0) {
      throw new UnsupportedHost(
        'L0 needs a processor with SVM (CPUID 0x80000001 ECX bit 2), which this one lacks.',
      );
    }
    if (this.paging === 'shadow' && (extended.edx & EDX_NX) === 0) {
      throw new UnsupportedHost(
        'L0 needs no-execute (CPUID 0x80000001 EDX bit 20) to shadow page tables, and this processor has none.',
      );
    }
    if ((hardware.rdmsr(MSR.VM_CR).lo & VM_CR_SVMDIS) !== 0) {
      throw new UnsupportedHost('SVM is disabled by the firmware (VM_CR.SVMDIS is set).');
    }
    const efer = hardware.rdmsr(MSR.EFER);
    this.host = { cr0: hardware.readCr(0), cr3: hardware.readCr(3), cr4: hardware.readCr(4), efer: efer.lo };
    if ((this.host.cr0 & CR0.PE) === 0)
      throw new UnsupportedHost('L0 is entered in protected mode; CR0.PE is clear.');
    const svm = hardware.cpuid(SVM_FEATURES, 0);
    if (this.paging === 'npt') this.#requireNestedPaging(svm.edx);
    this.nestedNx = (this.host.cr4 & CR4.PAE) !== 0 && (this.host.efer & EFER.NXE) !== 0;
    this.reportsFetches = this.nestedNx || (this.host.cr4 & CR4.SMEP) !== 0;
    this.nextRip = (svm.edx & EDX_NRIP) !== 0;
    this.decodeAssists = (svm.edx & EDX_DECODE_ASSISTS) !== 0;
    this.asids = new AsidPool(svm.ebx, (svm.edx & EDX_FLUSH_BY_ASID) !== 0);
    this.pages = new HostPages(hardware.memory, owned);
    this.#enable(efer);
    this.iopm = allPorts(hardware.memory, this.pages);
    this.msrpm = guestMsrs(hardware.memory, this.pages);
    this.#hostVmcb = new Vmcb(hardware.memory, this.pages.allocate(1));
  }

  /** APM vol. 2 15.4 and 15.30.4: EFER.SVME, and a page in which VMRUN saves the host's state. */
  #enable(efer: Halves): void {
    this.hardware.wrmsr(MSR.EFER, (efer.lo | EFER.SVME) >>> 0, efer.hi);
    this.hardware.wrmsr(MSR.VM_HSAVE_PA, this.pages.allocate(1), 0);
  }

  #requireNestedPaging(svmFeatures: number): void {
    if ((svmFeatures & EDX_NPT) === 0) {
      throw new UnsupportedHost(
        'L0 is to use nested paging (CPUID 0x8000000A EDX bit 0), which this processor lacks.',
      );
    }
    if ((this.host.cr0 & CR0.PG) === 0) {
      throw new UnsupportedHost(
        "L0 is to use nested paging, whose tables have the format of the host's own, and the host runs without paging.",
      );
    }
  }

  /** The most that a guest can be offered on this processor: its own model without what L0 does not virtualise. */
  guestModel(host: CpuModel): CpuModel {
    return offeredModel(host, this);
  }

  /** Throws UnsupportedGuest for a guest CPU with features that L0 does not virtualise or the processor lacks. */
  checkModel(model: CpuModel): void {
    const surplus = refusals(model, this);
    if (surplus.length > 0) {
      const reasons = surplus.map(({ feature, because }) => `${feature} (${because})`);
      throw new UnsupportedGuest(
        `L0 cannot offer ${reasons.join(', ')} to a guest; take the model from guestModel().`,
      );
    }
    const missing = [...model.features].filter((name) => !OWN.includes(name) && !this.#announces(name));
    if (missing.length > 0) {
      throw new UnsupportedGuest(
        `the processor below L0 has no ${missing.join(', ')}, so that L0 cannot offer ${missing.length === 1 ? 'it' : 'them'} ` +
          `to a guest; take a greater one, or ${missing.map((name) => `-${name}`).join(',')}.`,
      );
    }
  }

  /**
   * Whether the processor takes bits of an entry for parts of an address that a CPU of this model reserves: its MAXPHYADDR is
   * greater, or it has PSE-36 (SDM vol. 3A tables 4-4, 4-11). With nested paging it walks the guest's own tables so.
   */
  hasMoreAddressBits(model: CpuModel): boolean {
    const bits = this.hardware.cpuid(ADDRESS_SIZES, 0).eax & 0xff;
    return bits > model.maxPhysicalAddressBits || (this.#announces('pse36') && !model.features.has('pse36'));
  }

  /** Whether the processor's CPUID reports a feature. */
  #announces(name: FeatureName): boolean {
    const feature = featureNamed(name);
    if (feature === undefined) return false;
    const highest = this.hardware.cpuid(feature.leaf < EXTENDED_LEAVES ? 0 : EXTENDED_LEAVES, 0).eax;
    if (highest >>> 0 < feature.leaf) return false;
    return (this.hardware.cpuid(feature.leaf, 0)[feature.register] & (1 << feature.bit)) !== 0;
  }

  createVm(options: VmOptions): Vm {
    return new Vm(this, options);
  }

  /** Brings a vCPU's registers that VMRUN does not switch into the processor, if another's or the host's are there. */
  load(vcpu: Vcpu): void {
    if (this.#loaded === vcpu) return;
    this.#loaded?.leaveGuest();
    this.unload();
    this.hardware.vmsave(this.#hostVmcb.address);
    this.#loaded = vcpu;
    vcpu.loadUnswitched();
  }

  /** Gives the processor back to the host. */
  unload(): void {
    if (this.#loaded === null) return;
    this.#loaded.saveUnswitched();
    this.#loaded = null;
    this.hardware.vmload(this.#hostVmcb.address);
  }
}
