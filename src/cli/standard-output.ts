import { fstatSync } from 'node:fs';
import { Writable } from 'node:stream';
import { reason, writeAll } from './files.ts';

const DESCRIPTOR = 1;

/**
 * Standard output of this process. Node's own takes for whole what a disk took half of, and says nothing; so files are
 * written here.
 */
export function standardOutput(): Writable {
  if (!fstatSync(DESCRIPTOR).isFile()) return process.stdout;
  return new Writable({
    write(chunk: Buffer, _, done) {
      try {
        writeAll(DESCRIPTOR, chunk);
        done();
      } catch (error) {
        done(error as Error);
      }
    },
  });
}

/** Whoever reads a pipe may go at any time, as `head` does; what is written then is lost to nobody. */
export const readerIsGone = (error: Error): boolean => (error as NodeJS.ErrnoException).code === 'EPIPE';

/**
 * Begins to listen for what a stream cannot take.
 * @returns waits for the errors of what was written so far; a sentence if anything was lost
 */
export function watchOutput(stream: Writable): () => Promise<string | undefined> {
  let lost: Error | undefined;
  stream.on('error', (error) => {
    if (!readerIsGone(error)) lost ??= error;
  });
  return async () => {
    // Writes are done at once, but their errors are told a moment later.
    await new Promise((resolve) => setImmediate(resolve));
    return lost && `Cannot write to standard output: ${reason(lost)}.`;
  };
}
