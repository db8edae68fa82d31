import { exceptionName, VECTOR } from '../../arch/exceptions.ts';
import type { Cpu, ShutdownCause } from '../../cpu/cpu.ts';
import { SYSTEM } from '../../cpu/layout.ts';

const NAMES = ['EAX', 'ECX', 'EDX', 'EBX', 'ESP', 'EBP', 'ESI', 'EDI'] as const;
const SEGMENTS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'LDT', 'TR'] as const;
const SHOWN_FIRST = ['EAX', 'EBX', 'ECX', 'EDX', 'ESI', 'EDI', 'EBP', 'ESP'] as const;

const hex = (value: number, digits = 8): string => (value >>> 0).toString(16).padStart(digits, '0');

/** The registers as QEMU's `info registers` lays them out, and what a shutdown began with. */
export function registerReport(cpu: Cpu): string {
  const { state } = cpu;
  const general = SHOWN_FIRST.map((name) => `${name}=${hex(state.gpr(NAMES.indexOf(name)))}`);
  const lines = [general.slice(0, 4).join(' '), general.slice(4).join(' ')];
  lines.push(`EIP=${hex(state.eip)} EFL=${hex(state.eflags)} CPL=${cpu.cpl} HLT=${cpu.halted ? 1 : 0}`);
  SEGMENTS.forEach((name, segment) => {
    const base = hex(state.segmentBase(segment));
    const limit = hex(state.segmentLimit(segment));
    const attributes = hex(state.segmentAttributes(segment), 3);
    lines.push(`${name.padEnd(3)}=${hex(state.selector(segment), 4)} ${base} ${limit} ${attributes}`);
  });
  lines.push(`GDT=     ${hex(state.system(SYSTEM.GDT_BASE))} ${hex(state.system(SYSTEM.GDT_LIMIT))}`);
  lines.push(`IDT=     ${hex(state.system(SYSTEM.IDT_BASE))} ${hex(state.system(SYSTEM.IDT_LIMIT))}`);
  lines.push(
    `CR0=${hex(state.cr0)} CR2=${hex(state.system(SYSTEM.CR2))} CR3=${hex(state.cr3)} CR4=${hex(state.cr4)}`,
  );
  lines.push(`DR6=${hex(state.system(SYSTEM.DR6))} DR7=${hex(state.system(SYSTEM.DR7))}`);
  lines.push(`EFER=${hex(state.efer, 16)}`);
  if (cpu.shutdown && cpu.shutdownCause !== undefined) lines.push(causeOf(cpu.shutdownCause));
  return lines.join('\n');
}

function causeOf({ vector, errorCode, eip, linear }: ShutdownCause): string {
  const code = errorCode < 0 ? '' : `(${errorCode.toString(16)})`;
  const address = vector === VECTOR.PF ? ` for ${hex(linear)}` : '';
  return `It began with ${exceptionName(vector)}${code} at EIP=${hex(eip)}${address}`;
}
