import { type Assembler, address, al, bl, dx, eax, ebx, ecx, edx, esi, mem8 } from './assembler.ts';

const COM1 = 0x3f8;
const LINE_STATUS = COM1 + 5;
/** Transmitter holding register empty (16550 data sheet, line status register). */
const THRE = 0x20;

/**
 * Emits routines that print on COM1. They may lose EAX and EDX, and what they take:
 *
 *     print-setup    115200 baud, 8N1, no interrupts
 *     print-byte     the byte in BL
 *     print-text     the zero-terminated text at ESI
 *     print-newline
 *     print-hex      EBX, 8 digits
 *     print-decimal  EBX, without leading zeros
 */
export function emitPrinting(a: Assembler): void {
  emitSetup(a);
  emitText(a);
  emitNumbers(a);

  // When the port is ready; a machine without the port answers all ones, which is ready too.
  a.label('print-byte');
  a.mov(dx, LINE_STATUS);
  a.label('print-byte-wait');
  a.in(al, dx);
  a.test(al, THRE);
  a.jz('print-byte-wait');
  a.mov(edx, COM1);
  a.mov(al, bl);
  a.out(dx, al);
  a.ret();
}

function emitSetup(a: Assembler): void {
  a.label('print-setup');
  for (const [port, value] of [
    [COM1 + 1, 0x00],
    [COM1 + 3, 0x80],
    [COM1, 0x01],
    [COM1 + 1, 0x00],
    [COM1 + 3, 0x03],
    [COM1 + 2, 0x07],
  ]) {
    a.mov(dx, port);
    a.mov(al, value);
    a.out(dx, al);
  }
  a.ret();
}

function emitText(a: Assembler): void {
  a.label('print-text');
  a.mov(bl, mem8(esi));
  a.test(bl, bl);
  a.jz('print-text-done');
  a.call('print-byte');
  a.add(esi, 1);
  a.jmp('print-text');
  a.label('print-text-done');
  a.ret();

  a.label('print-newline');
  a.mov(bl, 10);
  a.jmp('print-byte');
}

function emitNumbers(a: Assembler): void {
  a.label('print-hex');
  a.push(ecx);
  a.mov(ecx, 8);
  a.label('print-hex-digit');
  a.rol(ebx, 4);
  a.push(ebx);
  a.and(ebx, 15);
  a.mov(bl, mem8(ebx, address('hex-digits')));
  a.call('print-byte');
  a.pop(ebx);
  a.dec(ecx);
  a.jnz('print-hex-digit');
  a.pop(ecx);
  a.ret();
  a.label('hex-digits');
  a.text('0123456789abcdef');

  // The digits go on the stack, the last one first, above a mark.
  a.label('print-decimal');
  a.push(ecx);
  a.mov(eax, ebx);
  a.mov(ecx, 10);
  a.push(0);
  a.label('print-decimal-divide');
  a.xor(edx, edx);
  a.div(ecx);
  a.add(edx, 0x30);
  a.push(edx);
  a.test(eax, eax);
  a.jnz('print-decimal-divide');
  a.label('print-decimal-digit');
  a.pop(ebx);
  a.test(ebx, ebx);
  a.jz('print-decimal-done');
  a.call('print-byte');
  a.jmp('print-decimal-digit');
  a.label('print-decimal-done');
  a.pop(ecx);
  a.ret();
}
