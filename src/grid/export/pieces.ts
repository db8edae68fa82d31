import type { Segment } from '../../guest/elf.ts';
import { END_OF_PIECES } from '../../guest/suite/format.ts';
import type { BlockWriter } from './block-writer.ts';

/** Zeros that end a run: skipping costs one dword. */
const GAP = 2;
const LONGEST = 0xffff;

/** Writes segments as pieces of memory (see format.ts): what is not zero, and where. Their sizes are multiples of 4. */
export function writePieces(block: BlockWriter, segments: readonly Segment[]): void {
  for (const { address, bytes, reserved = 0 } of segments) {
    const words = wordsOf(bytes);
    block.words(address, words.length + reserved / 4);
    let done = 0;
    for (const { start, end } of runsOf(words)) {
      let skip = start - done;
      for (; skip > LONGEST; skip -= LONGEST) block.words(LONGEST << 16);
      for (let from = start; from < end; from += LONGEST) {
        const to = Math.min(end, from + LONGEST);
        block.words((skip << 16) | (to - from), ...words.subarray(from, to));
        skip = 0;
      }
      done = end;
    }
    block.words(0);
  }
  block.words(END_OF_PIECES);
}

function wordsOf(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Uint32Array.from({ length: bytes.length / 4 }, (_, index) => view.getUint32(index * 4, true));
}

/** Where words are not zero; gaps of a single zero stay inside. */
function runsOf(words: Uint32Array): { start: number; end: number }[] {
  const runs: { start: number; end: number }[] = [];
  words.forEach((word, index) => {
    if (word === 0) return;
    const last = runs.at(-1);
    if (last !== undefined && index - last.end < GAP) last.end = index + 1;
    else runs.push({ start: index, end: index + 1 });
  });
  return runs;
}
