import { AGENT_STATE } from './agent-core.ts';
import { AGENT_LAYOUT, RECORD_SIZE } from './agent-layout.ts';
import { type Assembler, address, ebx, ecx, edi, esi, mem32 } from './assembler.ts';
import { emitPrinting } from './printing.ts';

/** First words of the lines that the dump prints; `parseLogDump` reads them. */
export const LOG_DUMP_START = 'UMBRA-LOG ';
export const LOG_DUMP_END = 'UMBRA-END ';

/**
 * Emits `log-dump`: prints the log on COM1, one record a line, each as 8 words of 8 hexadecimal digits, between a line
 * with the number of bytes and a line with the exit code. For hosts whose memory nobody can read afterwards.
 */
export function emitLogDump(a: Assembler): void {
  a.label('log-dump');
  a.call('print-setup');
  a.mov(esi, address('log-dump-start'));
  a.call('print-text');
  a.mov(ebx, mem32(address(AGENT_STATE.LOG)));
  a.sub(ebx, AGENT_LAYOUT.LOG);
  a.call('print-hex');
  a.call('print-newline');
  a.mov(edi, AGENT_LAYOUT.LOG);
  a.label('log-dump-record');
  a.cmp(edi, mem32(address(AGENT_STATE.LOG)));
  a.jae('log-dump-done');
  a.mov(ecx, RECORD_SIZE / 4);
  a.label('log-dump-word');
  a.mov(ebx, mem32(edi));
  a.call('print-hex');
  a.add(edi, 4);
  a.dec(ecx);
  a.jnz('log-dump-word');
  a.call('print-newline');
  a.jmp('log-dump-record');
  a.label('log-dump-done');
  a.mov(esi, address('log-dump-end'));
  a.call('print-text');
  a.mov(ebx, mem32(address(AGENT_STATE.EXIT)));
  a.call('print-hex');
  a.jmp('print-newline');

  emitPrinting(a);
  a.label('log-dump-start');
  a.text(LOG_DUMP_START);
  a.data8(0);
  a.label('log-dump-end');
  a.text(LOG_DUMP_END);
  a.data8(0);
}

/** The log and exit code out of what the machine printed on COM1. Throws if the dump is not whole. */
export function parseLogDump(text: string): { log: Uint8Array; exitCode: number } {
  const lines = text.split(/\r?\n/);
  const start = lines.findIndex((line) => line.startsWith(LOG_DUMP_START));
  const end = lines.findIndex((line) => line.startsWith(LOG_DUMP_END));
  if (start < 0 || end < start) throw new Error('The serial output has no whole log dump.');
  const size = Number.parseInt(lines[start].slice(LOG_DUMP_START.length), 16);
  const words = lines.slice(start + 1, end).flatMap((line) => line.match(/.{8}/g) ?? []);
  if (words.length * 4 !== size) throw new Error(`The log dump has ${words.length * 4} bytes, not ${size}.`);
  const log = new Uint8Array(size);
  const view = new DataView(log.buffer);
  words.forEach((word, index) => {
    view.setUint32(index * 4, Number.parseInt(word, 16), true);
  });
  return { log, exitCode: Number.parseInt(lines[end].slice(LOG_DUMP_END.length), 16) };
}
