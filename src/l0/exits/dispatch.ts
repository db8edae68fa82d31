/** From exit code to handler. */
import { VMEXIT, vmexitName } from '../../arch/svm-exits.ts';
import { VMCB } from '../../arch/vmcb.ts';
import {
  handleClgi,
  handleInvlpga,
  handleStgi,
  handleVmload,
  handleVmrun,
  handleVmsave,
} from '../nested/instructions.ts';
import { reflectIfWanted } from '../nested/reflect.ts';
import type { Vcpu } from '../vcpu.ts';
import {
  handleCr0Read,
  handleCr0Write,
  handleCr3Read,
  handleCr3Write,
  handleCr4Read,
  handleCr4Write,
  handleCr8Read,
  handleCr8Write,
  handleInvlpg,
} from './control.ts';
import { handleGeneralProtection, handlePageFault, handleReflectedException } from './exceptions.ts';
import {
  handleCpuid,
  handleHlt,
  handleHostEvent,
  handleInvalid,
  handleIret,
  handleMonitor,
  handleMwait,
  handleNothing,
  handleRdpmc,
  handleRdtsc,
  handleShutdown,
  handleTaskSwitch,
  handleUndefined,
} from './instructions.ts';
import { handleIo } from './io.ts';
import { handleMsr } from './msr.ts';
import { handleNestedPageFault } from './nested-page-fault.ts';

type ExitHandler = (vcpu: Vcpu) => void;

const exception = (vector: number): number => VMEXIT.EXCP + vector;

// biome-ignore format: table
const HANDLERS: readonly (readonly [code: number, handler: ExitHandler])[] = [
  [VMEXIT.CR0_READ,      handleCr0Read],
  [VMEXIT.CR3_READ,      handleCr3Read],
  [VMEXIT.CR4_READ,      handleCr4Read],
  [VMEXIT.CR8_READ,      handleCr8Read],
  [VMEXIT.CR0_WRITE,     handleCr0Write],
  [VMEXIT.CR0_SEL_WRITE, handleCr0Write],
  [VMEXIT.CR3_WRITE,     handleCr3Write],
  [VMEXIT.CR4_WRITE,     handleCr4Write],
  [VMEXIT.CR8_WRITE,     handleCr8Write],
  [exception(1),         handleReflectedException],
  [exception(13),        handleGeneralProtection],
  [exception(14),        handlePageFault],
  [exception(17),        handleReflectedException],
  [exception(18),        handleHostEvent],
  [VMEXIT.INTR,          handleHostEvent],
  [VMEXIT.NMI,           handleHostEvent],
  [VMEXIT.SMI,           handleHostEvent],
  [VMEXIT.INIT,          handleHostEvent],
  [VMEXIT.VINTR,         handleHostEvent],
  [VMEXIT.CPUID,         handleCpuid],
  [VMEXIT.RDPMC,         handleRdpmc],
  [VMEXIT.RDTSC,         handleRdtsc],
  [VMEXIT.RDTSCP,        handleRdtsc],
  [VMEXIT.IRET,          handleIret],
  [VMEXIT.INVD,          handleNothing],
  [VMEXIT.WBINVD,        handleNothing],
  [VMEXIT.HLT,           handleHlt],
  [VMEXIT.INVLPG,        handleInvlpg],
  [VMEXIT.IOIO,          handleIo],
  [VMEXIT.MSR,           handleMsr],
  [VMEXIT.TASK_SWITCH,   handleTaskSwitch],
  [VMEXIT.SHUTDOWN,      handleShutdown],
  [VMEXIT.VMRUN,         handleVmrun],
  [VMEXIT.VMMCALL,       handleUndefined],
  [VMEXIT.VMLOAD,        handleVmload],
  [VMEXIT.VMSAVE,        handleVmsave],
  [VMEXIT.STGI,          handleStgi],
  [VMEXIT.CLGI,          handleClgi],
  [VMEXIT.INVLPGA,       handleInvlpga],
  [VMEXIT.SKINIT,        handleUndefined],
  [VMEXIT.MONITOR,       handleMonitor],
  [VMEXIT.MWAIT,         handleMwait],
  [VMEXIT.XSETBV,        handleUndefined],
  [VMEXIT.RDPRU,         handleUndefined],
  [VMEXIT.INVLPGB,       handleUndefined],
  [VMEXIT.INVLPGB_ILLEGAL, handleUndefined],
  [VMEXIT.INVPCID,       handleUndefined],
  [VMEXIT.TLBSYNC,       handleUndefined],
  [VMEXIT.NPF,           handleNestedPageFault],
];

const BY_CODE: (ExitHandler | undefined)[] = new Array<ExitHandler | undefined>(VMEXIT.NPF + 1).fill(
  undefined,
);
for (const [code, handler] of HANDLERS) BY_CODE[code] = handler;

/** Handles the exit in the current VMCB: L1 does, if it is L2's and L1 intercepts it, else L0. */
export function handleExit(vcpu: Vcpu): void {
  if (vcpu.state.guestMode && reflectIfWanted(vcpu)) return;
  const code = vcpu.state.vmcb.read(VMCB.EXITCODE) | 0;
  const handler = code < 0 ? handleInvalid : BY_CODE[code];
  if (handler === undefined) vcpu.fail(`nobody handles ${vmexitName(code)}`);
  else handler(vcpu);
}
