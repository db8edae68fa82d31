/** Which exits of L2 are L1's: those it intercepts itself (APM vol. 2 15.7 to 15.14). All others L0 handles as for L1. */
import { CR0, CR0_DEFINED, GPR } from '../../arch/registers.ts';
import { isExceptionExit, VMEXIT } from '../../arch/svm-exits.ts';
import { INTERCEPT1, IOIO, IOIO_PORT_SHIFT, msrpmBit, VMCB } from '../../arch/vmcb.ts';
import { cr0Operand, isLegalCr4Write, isLmsw } from '../exits/control.ts';
import type { Vcpu } from '../vcpu.ts';
import { reflectExit } from './exit.ts';

const TWO_TO_32 = 0x1_0000_0000;
const PAGE_FAULT = VMEXIT.EXCP + 14;

/** Takes the exit to L1 if it is L1's. */
export function reflectIfWanted(vcpu: Vcpu): boolean {
  const code = vcpu.state.vmcb.read(VMCB.EXITCODE) | 0;
  if (code === VMEXIT.CR0_WRITE || code === VMEXIT.CR0_SEL_WRITE) return reflectCr0Write(vcpu, code);
  // What L1's CPU reserves is #GP before the intercept (APM vol. 2 15.9), and the processor may well know it.
  if (code === VMEXIT.CR4_WRITE && !isLegalCr4Write(vcpu)) return false;
  const wait = code === VMEXIT.MWAIT && waitIsWanted(vcpu);
  if (!wait && !isWanted(vcpu, code)) return false;
  reflectExit(vcpu, wait ? VMEXIT.MWAIT_CONDITIONAL : code);
  return true;
}

/** L1's conditional intercept means an MWAIT that would wait, and comes before the other (APM vol. 2 15.9). */
const waitIsWanted = (vcpu: Vcpu): boolean =>
  isIntercepted(vcpu.nested.interceptWords, VMEXIT.MWAIT_CONDITIONAL) &&
  vcpu.monitor.waits(vcpu.hardware.memory.u8);

function isWanted(vcpu: Vcpu, code: number): boolean {
  const { nested } = vcpu;
  // A VMCB that L0 made of L1's was refused: L0's checks were laxer than the processor's.
  if (code < 0) return true;
  // L0 judges page faults under shadow paging first: they may be its own. The host's events never concern L1 directly.
  if (code === PAGE_FAULT && !vcpu.vm.nestedPaging && vcpu.vm.rules.judgesFaultOfL2()) return false;
  if (code >= VMEXIT.INTR && code <= VMEXIT.INIT) return false;
  // The field may hold L0's window instead of L1's virtual interrupt.
  if (code === VMEXIT.VINTR && vcpu.intercepts.interruptWindow) return false;
  if (!isIntercepted(nested.interceptWords, code)) return false;
  if (code === VMEXIT.IOIO) return ioIsWanted(vcpu);
  if (code === VMEXIT.MSR) return msrIsWanted(vcpu);
  return true;
}

/** The exit code's bit among L1's intercept words: the codes follow their order, 32 to a word. */
export function isIntercepted(words: Uint32Array, code: number): boolean {
  if (code < 0x20) return hasBit(words[0], (code & 0xf) + (code >= 0x10 ? 16 : 0));
  if (code < 0x40) return hasBit(words[1], (code & 0xf) + (code >= 0x30 ? 16 : 0));
  if (isExceptionExit(code)) return hasBit(words[2], code - VMEXIT.EXCP);
  if (code <= VMEXIT.SHUTDOWN) return hasBit(words[3], code - VMEXIT.INTR);
  if (code < VMEXIT.INVLPGB) return hasBit(words[4], code - VMEXIT.VMRUN);
  return code <= VMEXIT.IDLE_HLT && hasBit(words[5], code - VMEXIT.INVLPGB);
}

const hasBit = (word: number, bit: number): boolean => ((word >>> bit) & 1) !== 0;

/**
 * L0 sees every write of CR0 while L2's value is not in force, and so must tell itself whether the write is one that L1's
 * selective intercept means: by MOV, of a bit other than TS and MP, or any LMSW (APM vol. 2 15.9).
 */
function reflectCr0Write(vcpu: Vcpu, code: number): boolean {
  const { nested, state } = vcpu;
  if (isIntercepted(nested.interceptWords, VMEXIT.CR0_WRITE)) {
    reflectExit(vcpu, VMEXIT.CR0_WRITE);
    return true;
  }
  if ((nested.read12(VMCB.INTERCEPT_MISC1) & INTERCEPT1.CR0_SEL_WRITE) === 0) return false;
  if (code === VMEXIT.CR0_WRITE && !isLmsw(vcpu)) {
    const value = cr0Operand(vcpu);
    // The operand cannot be read, and what that means has been raised.
    if (value < 0) return true;
    const changed = (value ^ state.cr0) & CR0_DEFINED & ~(CR0.TS | CR0.MP | CR0.ET);
    if (changed === 0) return false;
  }
  reflectExit(vcpu, VMEXIT.CR0_SEL_WRITE);
  return true;
}

/** A byte of one of L1's permission maps; where no memory is, all ones. */
function mapByte(vcpu: Vcpu, field: number, offset: number): number {
  const { nested, vm, hardware } = vcpu;
  const base = nested.readHigh12(field) * TWO_TO_32 + ((nested.read12(field) & 0xffff_f000) >>> 0);
  const at = vm.slots.hostAddress(base + offset);
  return at < 0 ? 0xff : hardware.memory.u8[at];
}

/** One bit for each port byte of the access (APM vol. 2 15.10.1); the map has room for an access that passes FFFFh. */
function ioIsWanted(vcpu: Vcpu): boolean {
  const info = vcpu.state.vmcb.read(VMCB.EXITINFO1);
  const size = (info & IOIO.SZ32) !== 0 ? 4 : (info & IOIO.SZ16) !== 0 ? 2 : 1;
  const port = info >>> IOIO_PORT_SHIFT;
  for (let p = port; p < port + size; p += 1) {
    if (hasBit(mapByte(vcpu, VMCB.IOPM_BASE_PA, p >>> 3), p & 7)) return true;
  }
  return false;
}

/** Read bit and write bit of the MSR (APM vol. 2 15.11). */
function msrIsWanted(vcpu: Vcpu): boolean {
  const bit = msrpmBit(vcpu.state.register(GPR.ECX));
  if (bit < 0) return true;
  const write = vcpu.state.vmcb.read(VMCB.EXITINFO1) & 1;
  return hasBit(mapByte(vcpu, VMCB.MSRPM_BASE_PA, bit >>> 3), (bit & 7) + write);
}
