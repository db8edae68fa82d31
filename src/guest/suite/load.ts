import {
  type Assembler,
  address,
  ax,
  eax,
  ebp,
  ebx,
  ecx,
  edi,
  edx,
  esi,
  mem,
  mem8,
  mem16,
  mem32,
} from '../assembler.ts';
import { BLOCK, END_OF_PIECES } from './format.ts';

/** Extension byte of a length in the LZ4 block format that another one follows. */
const MORE = 255;
const NIBBLE = 15;
const SHORTEST_MATCH = 4;

/** Emits `unpack`: the LZ4 block from ESI to EDX, into memory at EDI. All registers are lost. */
export function emitUnpack(a: Assembler): void {
  a.label('unpack');
  a.movzx(ebp, mem8(esi));
  a.inc(esi);
  a.mov(ecx, ebp);
  a.shr(ecx, 4);
  emitLength(a, 'unpack-literals');
  a.rep();
  a.movsb();
  // The last sequence has no match.
  a.cmp(esi, edx);
  a.jae('unpack-done');
  a.movzx(eax, mem16(esi));
  a.add(esi, 2);
  a.mov(ecx, ebp);
  a.and(ecx, NIBBLE);
  emitLength(a, 'unpack-match');
  a.add(ecx, SHORTEST_MATCH);
  a.push(esi);
  a.mov(esi, edi);
  a.sub(esi, eax);
  // Byte by byte, also where the match overlaps what it makes.
  a.rep();
  a.movsb();
  a.pop(esi);
  a.jmp('unpack');
  a.label('unpack-done');
  a.ret();
}

/** Adds what follows at ESI to a length of 15 in ECX. EBX is lost. */
function emitLength(a: Assembler, label: string): void {
  a.cmp(ecx, NIBBLE);
  a.jnz(label);
  a.label(`${label}-more`);
  a.movzx(ebx, mem8(esi));
  a.inc(esi);
  a.add(ecx, ebx);
  a.cmp(ebx, MORE);
  a.jz(`${label}-more`);
  a.label(label);
}

/** Emits `load-pieces`: puts the memory of the unpacked block where it belongs. */
export function emitLoadPieces(a: Assembler): void {
  a.label('load-pieces');
  a.mov(esi, mem32(address('unpacked', BLOCK.PIECES * 4)));
  a.add(esi, address('unpacked'));
  a.label('load-piece');
  a.lodsd();
  a.cmp(eax, END_OF_PIECES);
  a.jz('load-done');
  a.mov(ebp, eax);
  a.mov(edi, eax);
  a.lodsd();
  a.mov(ecx, eax);
  a.xor(eax, eax);
  a.rep();
  a.stosd();
  a.mov(edi, ebp);
  a.label('load-run');
  a.lodsd();
  a.test(eax, eax);
  a.jz('load-piece');
  a.movzx(ecx, ax);
  a.shr(eax, 16);
  a.lea(edi, mem(edi, 0, { index: eax, scale: 4 }));
  a.rep();
  a.movsd();
  a.jmp('load-run');
  a.label('load-done');
  a.ret();
}
