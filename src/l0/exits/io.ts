/** IN, OUT, INS, OUTS (APM vol. 2 15.10): every port of the guest is a device of the VM. */
import { GPR } from '../../arch/registers.ts';
import { VMEXIT } from '../../arch/svm-exits.ts';
import { IOIO, IOIO_PORT_SHIFT, VMCB } from '../../arch/vmcb.ts';
import type { Vcpu } from '../vcpu.ts';

const sizeOf = (info: number): 1 | 2 | 4 => ((info & IOIO.SZ32) !== 0 ? 4 : (info & IOIO.SZ16) !== 0 ? 2 : 1);

/** VMEXIT_IOIO. The processor has checked IOPL and the TSS bitmap before. */
export function handleIo(vcpu: Vcpu): void {
  const { state } = vcpu;
  const info = state.vmcb.read(VMCB.EXITINFO1);
  if ((info & IOIO.STRING) !== 0) {
    vcpu.emulation.run(VMEXIT.IOIO);
    return;
  }
  const { ports } = vcpu.vm.environment;
  const size = sizeOf(info);
  const port = info >>> IOIO_PORT_SHIFT;
  const eax = state.register(GPR.EAX);
  const mask = size === 4 ? -1 : (1 << (8 * size)) - 1;
  const write = (info & IOIO.IN) === 0;
  const value = (write ? eax & mask : ports.read(port, size) & mask) >>> 0;
  if (vcpu.vm.trace !== null) vcpu.vm.trace.portAccess(port, size, value, write);
  if (write) ports.write(port, size, value);
  else if (size === 4) state.setRegister(GPR.EAX, value);
  // The rest of EAX stays (SDM vol. 2A IN).
  else state.gpr[GPR.EAX * 2] = (eax & ~mask) | value;
  vcpu.skipInstruction();
}
