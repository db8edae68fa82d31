import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from 'iced-x86';

/** The first instruction of 32-bit code in Intel's notation: `mov cr4,eax`. @param address of its first byte */
export function disassemble(bytes: Uint8Array, address: number): string {
  const decoder = new Decoder(32, bytes, DecoderOptions.None);
  const formatter = new Formatter(FormatterSyntax.Nasm);
  decoder.ip = BigInt(address);
  const instruction = decoder.decode();
  try {
    return formatter.format(instruction);
  } finally {
    instruction.free();
    formatter.free();
    decoder.free();
  }
}
