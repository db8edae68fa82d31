import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { InputError } from '../arch/input-error.ts';

/** Reads a file that the user named. @throws InputError where it cannot be read */
export function readInput(path: string, what: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new InputError(`Cannot read the ${what} ${path}: ${reason(error)}.`);
  }
}

/**
 * A file to write to, opened when the command starts: a path that cannot be written is said before the work, not after.
 */
export class OutputFile {
  readonly #descriptor: number;
  #pending = '';

  /** @throws InputError where the file cannot be made */
  constructor(path: string, what: string) {
    try {
      this.#descriptor = openSync(path, 'w');
    } catch (error) {
      throw new InputError(`Cannot write the ${what} ${path}: ${reason(error)}.`);
    }
  }

  write(text: string): void {
    this.#pending += text;
    if (this.#pending.length > 0x1_0000) this.flush();
  }

  writeBytes(bytes: Uint8Array): void {
    this.flush();
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#descriptor, bytes, done);
  }

  flush(): void {
    writeSync(this.#descriptor, this.#pending);
    this.#pending = '';
  }

  close(): void {
    this.flush();
    closeSync(this.#descriptor);
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EISDIR: 'it is a folder',
  EACCES: 'it may not be accessed',
  ENOTDIR: 'a part of its path is not a folder',
  ENOSPC: 'the disk is full',
  EROFS: 'the file system is read-only',
  ERR_FS_FILE_TOO_LARGE: 'it is larger than 2 GiB',
};

function reason(error: unknown): string {
  const { code = '', message } = error as NodeJS.ErrnoException;
  return REASONS[code] ?? message;
}
