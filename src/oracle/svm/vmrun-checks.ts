import { bits, CR0, CR4, EFER, ENTRY, has } from '../bits.ts';
import { cr4Reserved, eferReserved } from '../control-registers.ts';
import { type OracleFeatures, oracleCpu, pagingMode } from '../cpu.ts';
import { paePdpteAddress, paePdpteReserved } from '../formats/pae.ts';
import type { PhysicalMemory } from '../memory.ts';
import { isReservedPat } from './pat.ts';

/** The fields of a VMCB that VMRUN checks, by their names in APM vol. 2 appendix B. */
export interface VmcbFields {
  readonly interceptVmrun: boolean;
  readonly iopmBasePa: bigint;
  readonly msrpmBasePa: bigint;
  readonly guestAsid: number;
  readonly tlbControl: number;
  readonly npEnable: boolean;
  readonly nCr3: bigint;
  readonly gPat: bigint;
  readonly eventInj: bigint;
  /** Attributes L and D of CS. */
  readonly csLong: boolean;
  readonly csDefaultBig: boolean;
  readonly efer: bigint;
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly dr6: bigint;
  readonly dr7: bigint;
}

/** The processor that executes VMRUN, and its state as the host. */
export interface VmrunHost {
  readonly features: OracleFeatures;
  readonly maxPhyAddr: number;
  readonly cr0: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
  /**
   * Given: the processor loads PDPTEs of a PAE guest without nested paging at VMRUN, and finds them here. Left out: it
   * reads them on use (APM vol. 2 5.5.3).
   */
  readonly memory?: PhysicalMemory;
}

export interface VmrunVerdict {
  /** `either`: the manual says reserved or unsupported, not what happens. `invalid`: VMEXIT_INVALID. */
  readonly verdict: 'valid' | 'invalid' | 'either';
  /** Each broken rule, with its section. */
  readonly reasons: readonly string[];
}

/** 12 KBytes of I/O and 8 KBytes of MSR permissions (APM vol. 2 15.10.1, 15.11). */
const IOPM_SIZE = 0x3000n;
const MSRPM_SIZE = 0x2000n;

/**
 * Consistency checks of VMRUN (APM vol. 2 15.5.1; 15.20 for event injection; 15.25.3 and 15.25.4 for nested paging).
 */
export function checkVmrun(host: VmrunHost, vmcb: VmcbFields): VmrunVerdict {
  const broken = [...stateRules(host, vmcb), ...controlRules(host, vmcb), ...nestedPagingRules(host, vmcb)];
  const invalid = broken.filter(([fails]) => fails).map(([, reason]) => reason);
  const injection = eventInjectionProblem(vmcb);
  if (injection?.certain) invalid.push(injection.reason);
  if (invalid.length > 0) return { verdict: 'invalid', reasons: invalid };
  const open = openQuestions(host, vmcb)
    .filter(([fails]) => fails)
    .map(([, reason]) => reason);
  if (injection !== undefined) open.push(injection.reason);
  return { verdict: open.length > 0 ? 'either' : 'valid', reasons: open };
}

type Rule = readonly [fails: boolean, reason: string];

/** APM vol. 2 15.5.1, the guest state. CR0 with PG = 1 and PE = 0 is legal here (15.19). */
function stateRules(host: VmrunHost, vmcb: VmcbFields): Rule[] {
  const { efer, cr0, cr3, cr4, csLong, csDefaultBig } = vmcb;
  const longPaging = has(efer, EFER.LME) && has(cr0, CR0.PG);
  const pae = has(cr4, CR4.PAE);
  return [
    [!has(efer, EFER.SVME), 'EFER.SVME is zero (APM vol. 2 15.5.1)'],
    [has(cr0, CR0.NW) && !has(cr0, CR0.CD), 'CR0.NW is set and CR0.CD is zero (APM vol. 2 15.5.1)'],
    [has(cr0, bits(63, 32)), 'CR0[63:32] are not zero (APM vol. 2 15.5.1)'],
    [
      longPaging && has(cr3, bits(63, host.maxPhyAddr)),
      'an MBZ bit of CR3 is set (APM vol. 2 15.5.1, 5.3.2)',
    ],
    [has(cr4, cr4Reserved(host.features)), 'an MBZ bit of CR4 is set (APM vol. 2 15.5.1)'],
    [has(vmcb.dr6, bits(63, 32)), 'DR6[63:32] are not zero (APM vol. 2 15.5.1)'],
    [has(vmcb.dr7, bits(63, 32)), 'DR7[63:32] are not zero (APM vol. 2 15.5.1)'],
    [
      has(efer, eferReserved(host.features)),
      'an MBZ bit of EFER is set, or LME or LMA without long mode (APM vol. 2 15.5.1)',
    ],
    [longPaging && !pae, 'EFER.LME and CR0.PG are set and CR4.PAE is zero (APM vol. 2 15.5.1)'],
    [longPaging && !has(cr0, CR0.PE), 'EFER.LME and CR0.PG are set and CR0.PE is zero (APM vol. 2 15.5.1)'],
    [
      longPaging && pae && csLong && csDefaultBig,
      'CS.L and CS.D are both set in long mode (APM vol. 2 15.5.1)',
    ],
    [has(cr4, CR4.CET) && !has(cr0, CR0.WP), 'CR4.CET is set and CR0.WP is zero (APM vol. 2 15.5.1)'],
    [illegalPdptes(host, vmcb), 'a present PDPTE of the guest has a reserved bit set (APM vol. 2 5.5.3)'],
  ];
}

/** APM vol. 2 15.5.1, the controls. */
function controlRules(host: VmrunHost, vmcb: VmcbFields): Rule[] {
  const limit = 1n << BigInt(host.maxPhyAddr);
  const ends = (base: bigint, size: bigint): boolean => (base & ~0xfffn) + size > limit;
  return [
    [!vmcb.interceptVmrun, 'the VMRUN intercept is clear (APM vol. 2 15.5.1)'],
    [vmcb.guestAsid === 0, 'the ASID is zero (APM vol. 2 15.5.1)'],
    [
      ends(vmcb.iopmBasePa, IOPM_SIZE),
      'the I/O permissions map ends above the physical addresses (APM vol. 2 15.10.1)',
    ],
    [
      ends(vmcb.msrpmBasePa, MSRPM_SIZE),
      'the MSR permissions map ends above the physical addresses (APM vol. 2 15.11)',
    ],
  ];
}

/**
 * APM vol. 2 15.25.2 to 15.25.4. The manual does not say what NP_ENABLE does where CPUID has no nested paging; a guest that
 * asks for it and ran without would run on other memory, so it must be refused.
 */
function nestedPagingRules(host: VmrunHost, vmcb: VmcbFields): Rule[] {
  if (!vmcb.npEnable) return [];
  return [
    [!host.features.npt, 'the processor has no nested paging (APM vol. 2 15.25.2)'],
    [!has(host.cr0, CR0.PG), 'nested paging needs paging in the host (APM vol. 2 15.25.3)'],
    [has(vmcb.nCr3, bits(63, host.maxPhyAddr)), 'an MBZ bit of nCR3 is set (APM vol. 2 15.25.4)'],
    [isReservedPat(vmcb.gPat), 'a field of G_PAT has a reserved encoding (APM vol. 2 15.25.4, 7.8.1)'],
  ];
}

function illegalPdptes(host: VmrunHost, vmcb: VmcbFields): boolean {
  const { cr0, cr3, cr4, efer } = vmcb;
  const { memory, maxPhyAddr } = host;
  if (memory === undefined || vmcb.npEnable || pagingMode(oracleCpu({ cr0, cr4, efer })) !== 'pae')
    return false;
  return [0n, 1n, 2n, 3n].some((index) => {
    const pdpte = memory.read(paePdpteAddress(cr3, index), 8);
    return has(pdpte, ENTRY.P) && has(pdpte, paePdpteReserved(maxPhyAddr));
  });
}

/** Fields whose reserved values the manual names without saying what they do. */
function openQuestions(host: VmrunHost, vmcb: VmcbFields): Rule[] {
  const longPaging = has(vmcb.efer, EFER.LME) && has(vmcb.cr0, CR0.PG);
  const hostLong = has(host.efer, EFER.LME) && has(host.cr0, CR0.PG);
  return [
    [![0, 1, 3, 7].includes(vmcb.tlbControl), 'TLB_CONTROL is reserved (APM vol. 2 table 15-9)'],
    [!longPaging && has(vmcb.cr3, bits(63, 32)), 'CR3[63:32] are set outside long mode (APM vol. 2 5.2.1)'],
    [
      vmcb.npEnable && !hostLong && has(vmcb.nCr3, bits(63, 32)),
      'nCR3[63:32] are set under a host outside long mode (APM vol. 2 5.2.1, 15.25.3)',
    ],
    [has(vmcb.efer, EFER.LMA) !== longPaging, 'EFER.LMA is not LME and PG (APM vol. 2 14.6.1)'],
  ];
}

/** Vectors that are exceptions in every AMD64 processor (APM vol. 2 table 8-1), and those that newer ones added. */
const EXCEPTIONS = new Set([0, 1, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19]);
const DOUBTFUL_EXCEPTIONS = new Set([9, 21, 28, 29, 30]);

/** Event injection that VMRUN refuses (APM vol. 2 15.20); `certain` is false where the manual leaves room. */
function eventInjectionProblem(vmcb: VmcbFields): { certain: boolean; reason: string } | undefined {
  const { eventInj } = vmcb;
  if (!has(eventInj, bits(31, 31))) return undefined;
  const type = Number((eventInj >> 8n) & 7n);
  const vector = Number(eventInj & 0xffn);
  if (![0, 2, 3, 4].includes(type))
    return { certain: true, reason: `EVENTINJ type ${type} is reserved (APM vol. 2 15.20)` };
  if (type !== 3) return undefined;
  if (!EXCEPTIONS.has(vector)) {
    const certain = !DOUBTFUL_EXCEPTIONS.has(vector);
    return { certain, reason: `EVENTINJ vector ${vector} is no exception (APM vol. 2 15.20)` };
  }
  const in64BitMode = has(vmcb.efer, EFER.LME) && has(vmcb.cr0, CR0.PG) && vmcb.csLong;
  if (in64BitMode && (vector === 4 || vector === 5)) {
    return {
      certain: vector === 5,
      reason: `exception ${vector} cannot happen in 64-bit mode (APM vol. 2 15.20)`,
    };
  }
  return undefined;
}
