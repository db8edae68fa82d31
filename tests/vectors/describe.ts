/** Vectors as text: disassembly, the state that matters, memory, faults. */
import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from 'iced-x86';
import type { MemoryPatch, Vector, VectorFault } from './format.ts';
import { slotTable, type VectorState } from './state.ts';

/** Selectors of the environment whose code segment is 16 bits wide. */
const CODE_16 = 0x4f;

export const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');

/** Instructions of a vector in Intel syntax, as iced-x86 reads them; a form it refuses shows as (bad). */
export function disassemble(vector: Vector): string {
  const bitness = vector.before.get('cs') === CODE_16 ? 16 : 32;
  const decoder = new Decoder(bitness, vector.code, DecoderOptions.None);
  const formatter = new Formatter(FormatterSyntax.Nasm);
  const lines: string[] = [];
  decoder.ip = BigInt(vector.before.get('eip'));
  for (let step = 0; step < vector.steps && decoder.canDecode; step++) {
    const instruction = decoder.decode();
    lines.push(formatter.format(instruction));
    instruction.free();
  }
  formatter.free();
  decoder.free();
  return lines.join('; ');
}

/** Value of a slot as one hexadecimal number, most significant byte first. */
export function slotText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0'))
    .reverse()
    .join('');
}

/** "eax=00000001 eflags=00000246" for every slot in which two states differ. */
export function differingSlots(state: VectorState, other: VectorState): string {
  const parts: string[] = [];
  for (const { name } of slotTable) {
    const text = slotText(state.raw(name));
    if (text !== slotText(other.raw(name))) parts.push(`${name}=${text}`);
  }
  return parts.join(' ');
}

export const patchesText = (patches: readonly MemoryPatch[]): string =>
  patches.map(({ address, bytes }) => `[${address.toString(16)}]=${hex(bytes)}`).join(' ');

/** "#14(0007) cr2=0000a000", or "completes". */
export function faultText(fault: VectorFault | null): string {
  if (!fault) return 'completes';
  const code = fault.errorCode.toString(16).padStart(4, '0');
  return `#${fault.vector}(${code})${fault.vector === 14 ? ` cr2=${fault.cr2.toString(16).padStart(8, '0')}` : ''}`;
}

/** Several lines that say all about one vector; `baseline` leaves out what every vector of the family shares. */
export function describeVector(vector: Vector, baseline: VectorState): string {
  const lines = [
    `${vector.family} / ${vector.form.name} #${vector.index}: ${hex(vector.code)}  ${disassemble(vector)}`,
    `  before: ${differingSlots(vector.before, baseline)} ${patchesText(vector.memoryBefore)}`,
    `  after:  ${differingSlots(vector.after, vector.before)} ${patchesText(vector.memoryAfter)} ${faultText(vector.fault)}`,
  ];
  const open = [
    vector.undefinedFlags ? `flags ${vector.undefinedFlags.toString(16)}` : '',
    vector.undefinedStatus ? `status ${vector.undefinedStatus.toString(16)}` : '',
    vector.undefinedResult ? 'result' : '',
  ].filter((text) => text);
  if (open.length) lines.push(`  undefined: ${open.join(', ')}`);
  return lines.join('\n');
}
