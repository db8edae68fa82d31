import { type Assembler, address, esi } from '../assembler.ts';

/** Prints a text that is known here. ESI, EBX, EAX and EDX are lost. */
export function say(a: Assembler, label: string): void {
  a.mov(esi, address(`text:${label}`));
  a.call('print-text');
}

/** Prints a text that is known here, behind `indent` spaces. */
export function sayIndented(a: Assembler, label: string): void {
  a.mov(esi, address(`text:${label}`));
  a.call('print-lines');
}

/** Emits the texts that `say` knows, zero-terminated. */
export function emitTexts(a: Assembler, texts: Readonly<Record<string, string>>): void {
  for (const [label, text] of Object.entries(texts)) {
    a.label(`text:${label}`);
    a.text(text);
    a.data8(0);
  }
}
