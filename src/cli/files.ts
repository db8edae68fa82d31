import {
  accessSync,
  closeSync,
  constants,
  ftruncateSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import { InputError } from '../arch/input-error.ts';
import { Failure } from './failure.ts';

/** Reads a file that the user named. @throws InputError where it cannot be read */
export function readInput(path: string, what: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new InputError(`Cannot read the ${what} ${path}: ${reason(error)}.`);
  }
}

/** Reads a file that must not be empty. @throws InputError where it is, or cannot be read */
export function readContents(path: string, what: string): Uint8Array {
  const bytes = readInput(path, what);
  if (bytes.length === 0) throw new InputError(`The ${what} ${path} is empty.`);
  return bytes;
}

/**
 * A file for a result. That it can be written is tried when the command starts, but what is there stays until `close`
 * puts all of the new contents in its place, in one step; nothing written means nothing changed.
 */
export class OutputFile {
  readonly #path: string;
  readonly #what: string;
  readonly #parts: (string | Uint8Array)[] = [];

  /** @throws InputError where the file cannot be written */
  constructor(path: string, what: string) {
    this.#path = path;
    this.#what = what;
    attempt(path, what, () => {
      if (statOf(path) === undefined) accessSync(`${dirname(resolve(path))}/.`, constants.W_OK);
      else closeSync(openSync(path, constants.O_WRONLY));
    });
  }

  write(text: string): void {
    this.#parts.push(text);
  }

  writeBytes(bytes: Uint8Array): void {
    this.#parts.push(bytes);
  }

  /** @throws Failure where the disk does not take it */
  close(): void {
    if (this.#parts.length === 0) return;
    const bytes = Buffer.concat(this.#parts.map((part) => Buffer.from(part as string)));
    try {
      replace(this.#path, bytes);
    } catch (error) {
      throw new Failure(`Cannot write the ${this.#what} ${this.#path}: ${reason(error)}.`);
    }
  }
}

/** Gives a file new contents: the old ones stay whole until the new ones are. */
function replace(path: string, bytes: Uint8Array): void {
  const stats = statOf(path);
  // A pipe or a device has no contents to keep.
  if (stats !== undefined && !stats.isFile()) {
    writeFileSync(path, bytes);
    return;
  }
  const target = stats === undefined ? resolve(path) : realpathSync(path);
  const fresh = `${target}.${process.pid}.new`;
  try {
    writeFileSync(fresh, bytes, stats && { mode: stats.mode });
    renameSync(fresh, target);
  } catch (error) {
    rmSync(fresh, { force: true });
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
    // The file may be written, its folder not.
    writeFileSync(target, bytes);
  }
}

/** A file that grows while the command works, for whoever looks on. What is there stays until `begin`. */
export class LiveFile {
  readonly #path: string;
  readonly #what: string;
  readonly #descriptor: number;
  readonly #before: Stats | undefined;
  #begun = false;
  #pending = '';

  /** @throws InputError where the file cannot be written */
  constructor(path: string, what: string) {
    this.#path = path;
    this.#what = what;
    this.#before = statOf(path);
    this.#descriptor = attempt(path, what, () => openSync(path, constants.O_WRONLY | constants.O_CREAT));
  }

  /** Nothing speaks against the work any more: the new contents start. */
  begin(): void {
    if (!this.#begun && this.#before?.isFile()) ftruncateSync(this.#descriptor);
    this.#begun = true;
  }

  /** @throws Failure where the disk does not take it */
  write(text: string): void {
    this.begin();
    this.#pending += text;
    if (this.#pending.length > 0x1_0000) this.#flush();
  }

  #flush(): void {
    const bytes = Buffer.from(this.#pending);
    this.#pending = '';
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#descriptor, bytes, done);
    } catch (error) {
      throw new Failure(`Cannot write the ${this.#what} ${this.#path}: ${reason(error)}.`);
    }
  }

  /** @throws Failure where the disk does not take what is left */
  close(): void {
    this.#flush();
    closeSync(this.#descriptor);
    if (!this.#begun && this.#before === undefined) rmSync(this.#path);
  }
}

/** Closes all of some files, whatever becomes of each. @throws Failure for the first that the disk does not take */
export function closeAll(...files: readonly ({ close(): void } | undefined)[]): void {
  const failures: unknown[] = [];
  for (const file of files) {
    try {
      file?.close();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** @throws InputError where two options name the same file, which would overwrite each other */
export function refuseSharedOutput(paths: Readonly<Record<string, string | undefined>>): void {
  const seen = new Map<string, string>();
  for (const [option, path] of Object.entries(paths)) {
    if (path === undefined) continue;
    const stats = statOf(path);
    if (stats !== undefined && !stats.isFile()) continue;
    const place = stats === undefined ? resolve(path) : realpathSync(path);
    const other = seen.get(place);
    if (other !== undefined)
      throw new InputError(`${other} and ${option} both write to ${path}; name two files.`);
    seen.set(place, option);
  }
}

const statOf = (path: string): Stats | undefined => {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    // Whoever opens it says what is wrong.
    return undefined;
  }
};

function attempt<Result>(path: string, what: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw new InputError(`Cannot write the ${what} ${path}: ${reason(error)}.`);
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EISDIR: 'it is a folder',
  EACCES: 'it may not be accessed',
  EPERM: 'it may not be changed',
  ENOTDIR: 'a part of its path is not a folder',
  EEXIST: 'there is a file of that name',
  ELOOP: 'its symbolic links go in circles',
  ENAMETOOLONG: 'its name is too long',
  ENOSPC: 'the disk is full',
  EROFS: 'the file system is read-only',
  ERR_FS_FILE_TOO_LARGE: 'it is larger than 2 GiB',
};

/** Why a file could not be used, as a clause. */
export function reason(error: unknown): string {
  const { code = '', message } = error as NodeJS.ErrnoException;
  return REASONS[code] ?? message;
}
