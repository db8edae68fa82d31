import { ATTRIBUTE, descriptorHi, descriptorLo, SYSTEM_TYPE } from '../arch/descriptors.ts';
import { pushesErrorCode } from '../arch/exceptions.ts';
import type { AgentName } from './agent-core.ts';
import { AGENT_LAYOUT, AGENT_SELECTOR, SHIFTED_BASE } from './agent-layout.ts';
import { type Assembler, address } from './assembler.ts';

/** Vectors with a gate of their own: the exceptions and a few interrupts for injection. */
export const GATED_VECTORS = 48;
const USER_RETURN_VECTOR = 0x80;
/** Bytes of an IDT that reaches to interrupt 80h. */
export const AGENT_IDT_LIMIT = (USER_RETURN_VECTOR + 1) * 8 - 1;
/** Bytes of a 32-bit TSS without an I/O map (SDM vol. 3A 7.2.1). */
const TSS_SIZE = 104;
export const AGENT_TSS_LIMIT = TSS_SIZE - 1;

const FLAT = 0xffff_ffff;
const { P, S, G, DB, DPL, CODE, READABLE, WRITABLE, ACCESSED } = ATTRIBUTE;

// biome-ignore format: table
/** Attributes of the agents' segments in the 12-bit form, as a VMCB wants them too. */
export const AGENT_ATTRIBUTES = {
  KERNEL_CODE: P | S | G | DB | CODE | READABLE | ACCESSED,
  KERNEL_DATA: P | S | G | DB | WRITABLE | ACCESSED,
  USER_CODE:   P | S | G | DB | DPL | CODE | READABLE | ACCESSED,
  USER_DATA:   P | S | G | DB | DPL | WRITABLE | ACCESSED,
  TSS_BUSY:    P | SYSTEM_TYPE.TSS_32_BUSY,
} as const;

/**
 * High halves of addresses in the image. A descriptor splits an address in pieces; everything a descriptor names
 * lies in the image's first 64 KiB, so that only the low half depends on the label.
 */
const IMAGE_HIGH = AGENT_LAYOUT.IMAGE >>> 16;

/** Emits the GDT (label `gdt`) that both agents use, and both TSSs. */
export function emitGdt(a: Assembler): void {
  const flat = (attributes: number, base = 0): void =>
    a.data32(descriptorLo(base, FLAT, attributes), descriptorHi(base, FLAT, attributes));
  const system = (label: string, limit: number, type: number): void => {
    a.data16(limit, address(label), IMAGE_HIGH | ((P | type) << 8), 0);
  };
  a.align(16);
  a.label('gdt');
  a.data32(0, 0);
  flat(AGENT_ATTRIBUTES.KERNEL_CODE);
  flat(AGENT_ATTRIBUTES.KERNEL_DATA);
  flat(AGENT_ATTRIBUTES.USER_CODE);
  flat(AGENT_ATTRIBUTES.USER_DATA);
  system('l1-tss', AGENT_TSS_LIMIT, SYSTEM_TYPE.TSS_32_AVAILABLE);
  system('l2-tss', AGENT_TSS_LIMIT, SYSTEM_TYPE.TSS_32_AVAILABLE);
  // One descriptor; the probe step sets the base.
  a.data32(descriptorLo(0, 7, P | SYSTEM_TYPE.LDT), descriptorHi(0, 7, P | SYSTEM_TYPE.LDT));
  flat(AGENT_ATTRIBUTES.USER_DATA, SHIFTED_BASE);
  a.label('gdt-end');
  emitTss(a, 'l1');
  emitTss(a, 'l2');
}

function emitTss(a: Assembler, who: AgentName): void {
  a.align(16);
  a.label(`${who}-tss`);
  a.data32(0, address(`${who}-stack-top`), AGENT_SELECTOR.KERNEL_DATA);
  a.zero(TSS_SIZE - 16);
  // I/O map base beyond the limit: no map (SDM vol. 1 18.5.2).
  a.data16(0, TSS_SIZE);
}

/** Emits an agent's handlers, which all end in `${who}-fault`, and its IDT (label `${who}-idt`). */
export function emitIdt(a: Assembler, who: AgentName): void {
  for (let vector = 0; vector < GATED_VECTORS; vector++) {
    a.label(`${who}-vector-${vector}`);
    if (!pushesErrorCode(vector)) a.push(0);
    a.push(vector);
    a.jmp(`${who}-fault`);
  }
  const gate = (label: string, dpl: number): void => {
    const attributes = P | (dpl << 5) | SYSTEM_TYPE.INTERRUPT_GATE_32;
    a.data16(address(label), AGENT_SELECTOR.KERNEL_CODE, attributes << 8, IMAGE_HIGH);
  };
  a.align(16);
  a.label(`${who}-idt`);
  for (let vector = 0; vector < GATED_VECTORS; vector++) gate(`${who}-vector-${vector}`, 0);
  a.zero((USER_RETURN_VECTOR - GATED_VECTORS) * 8);
  gate(`${who}-probe-returned`, 3);
}
