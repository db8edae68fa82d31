import { type Assembler, address, eax, ebx, ecx, edi, edx, esi, mem8, mem32 } from '../assembler.ts';
import { emitTexts } from './texts.ts';

/** What a boot loader leaves in EAX, and in the information at EBX (multiboot 0.6.96, 3.2 and 3.3). */
const BOOT_MAGIC = 0x2bad_b002;
const INFORMATION = { FLAGS: 0, COMMAND_LINE: 16 } as const;
const HAS_COMMAND_LINE = 1 << 2;

/** Numbers that the command line may give, and what they are without. */
const OPTIONS = [
  { name: 'first', standard: 1 },
  { name: 'last', standard: 0xffff_ffff },
  { name: 'show', standard: 1 },
] as const;

/**
 * Emits `read-options`: what the command line says, into `option-first` and so on. EAX and EBX are as the boot loader
 * left them.
 *
 *     first=N last=N  numbers of the first and the last scenario to run: where one kills the machine, go on behind it
 *     show=N          so many mismatches of a scenario are reported in full
 */
export function emitOptions(a: Assembler): void {
  a.label('read-options');
  a.cmp(eax, BOOT_MAGIC);
  a.jnz('options-done');
  a.test(mem32(ebx, INFORMATION.FLAGS), HAS_COMMAND_LINE);
  a.jz('options-done');
  a.mov(esi, mem32(ebx, INFORMATION.COMMAND_LINE));
  a.label('options-look');
  a.cmp(mem8(esi), 0);
  a.jz('options-done');
  for (const { name } of OPTIONS) {
    a.push(esi);
    a.mov(edi, address(`text:option-${name}`));
    a.mov(ecx, name.length + 1);
    a.rep();
    a.cmpsb();
    a.mov(edx, esi);
    a.pop(esi);
    a.jnz(`options-not-${name}`);
    a.call('option-number');
    a.mov(mem32(address(`option-${name}`)), ebx);
    a.label(`options-not-${name}`);
  }
  a.inc(esi);
  a.jmp('options-look');
  a.label('options-done');
  a.ret();

  // The decimal number at EDX, into EBX.
  a.label('option-number');
  a.xor(ebx, ebx);
  a.label('option-digit');
  a.movzx(eax, mem8(edx));
  a.sub(eax, 0x30);
  a.cmp(eax, 10);
  a.jae('option-number-done');
  a.imul(ebx, ebx, 10);
  a.add(ebx, eax);
  a.inc(edx);
  a.jmp('option-digit');
  a.label('option-number-done');
  a.ret();

  a.align(4);
  for (const { name, standard } of OPTIONS) {
    a.label(`option-${name}`);
    a.data32(standard);
    emitTexts(a, { [`option-${name}`]: `${name}=` });
    a.align(4);
  }
}
