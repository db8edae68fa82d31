/** IN, OUT, INS, OUTS (APM vol. 2 15.10): every port of the guest is a device of the VM. */
import { GPR } from '../../arch/registers.ts';
import { IOIO, IOIO_PORT_SHIFT, VMCB } from '../../arch/vmcb.ts';
import type { Vcpu } from '../vcpu.ts';

const sizeOf = (info: number): 1 | 2 | 4 => ((info & IOIO.SZ32) !== 0 ? 4 : (info & IOIO.SZ16) !== 0 ? 2 : 1);

/** VMEXIT_IOIO. The processor has checked IOPL and the TSS bitmap before. */
export function handleIo(vcpu: Vcpu): void {
  const { state } = vcpu;
  const info = state.vmcb.read(VMCB.EXITINFO1);
  if ((info & IOIO.STRING) !== 0) {
    if (!vcpu.emulation.run()) vcpu.fail('the emulator does not run a string I/O instruction');
    return;
  }
  const { ports } = vcpu.vm.environment;
  const size = sizeOf(info);
  const port = info >>> IOIO_PORT_SHIFT;
  const eax = state.register(GPR.EAX);
  if ((info & IOIO.IN) === 0) ports.write(port, size, size === 4 ? eax : eax & ((1 << (8 * size)) - 1));
  else if (size === 4) state.setRegister(GPR.EAX, ports.read(port, 4));
  else {
    // The rest of EAX stays (SDM vol. 2A IN).
    const mask = (1 << (8 * size)) - 1;
    state.gpr[GPR.EAX * 2] = (eax & ~mask) | (ports.read(port, size) & mask);
  }
  vcpu.skipInstruction();
}
