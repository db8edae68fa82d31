import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  realpathSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { resolve } from 'node:path';
import { InputError } from '../arch/input-error.ts';
import { OUTPUT_STATUS } from './exit-status.ts';
import { Failure } from './failure.ts';
import { replaceFile, tryToReplaceFile } from './replace-file.ts';

/** Reads a file that the user named. @throws InputError where it cannot be read */
export function readInput(path: string, what: string): Uint8Array {
  try {
    return readToEnd(path);
  } catch (error) {
    throw new InputError(`Cannot read the ${what} ${path}: ${reason(error)}.`);
  }
}

/** What a pipe or a device may have to read, which does not tell before: /dev/zero has no end. */
const MOST_MEBIBYTES = 256;

function readToEnd(path: string): Uint8Array {
  const descriptor = openSync(path, 'r');
  try {
    if (fstatSync(descriptor).isFile()) return readFileSync(descriptor);
    const parts: Uint8Array[] = [];
    for (let size = 0; size <= MOST_MEBIBYTES * 2 ** 20; ) {
      const part = new Uint8Array(0x1_0000);
      const read = readSync(descriptor, part);
      if (read === 0) return Buffer.concat(parts);
      parts.push(part.subarray(0, read));
      size += read;
    }
    throw new Error(`it is no file, and has more than ${MOST_MEBIBYTES} MiB`);
  } finally {
    closeSync(descriptor);
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
  /** Of a pipe or a device; undefined for a file, which is not touched before `close`. */
  readonly #stream: number | undefined;
  readonly #parts: (string | Uint8Array)[] = [];

  /** @throws InputError where the file cannot be written */
  constructor(path: string, what: string) {
    this.#path = path;
    this.#what = what;
    this.#stream = attempt(path, what, () => {
      const stats = statOf(path);
      if (stats !== undefined && !stats.isFile()) return openStream(path);
      tryToPutInPlace(path, stats);
      return undefined;
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
    try {
      this.#put();
    } catch (error) {
      throw outputFailure(this.#what, this.#path, error);
    } finally {
      if (this.#stream !== undefined) closeSync(this.#stream);
    }
  }

  #put(): void {
    if (this.#parts.length === 0) return;
    const bytes = Buffer.concat(this.#parts.map((part) => Buffer.from(part as string)));
    if (this.#stream === undefined) putInPlace(this.#path, bytes);
    else writeFileSync(this.#stream, bytes);
  }
}

/**
 * Opens for writing what stays open until all is written: who reads a pipe takes its closing for the end. The write of
 * nothing makes a device say that it would take nothing, as /dev/full does.
 */
function openStream(path: string, flags = 0): number {
  const descriptor = openSync(path, constants.O_WRONLY | flags);
  try {
    writeSync(descriptor, '');
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  return descriptor;
}

/** Where a file can be written though not replaced: its folder is closed, its name as long as can be, or it is a mount. */
const IRREPLACEABLE: readonly (string | undefined)[] = ['EACCES', 'EPERM', 'EROFS', 'ENAMETOOLONG', 'EBUSY'];

const irreplaceable = (error: unknown): boolean =>
  IRREPLACEABLE.includes((error as NodeJS.ErrnoException).code);

/** Gives a file new contents: the old ones stay whole until the new ones are, wherever that is possible. */
function putInPlace(path: string, bytes: Uint8Array): void {
  try {
    replaceFile(path, bytes);
  } catch (error) {
    if (!irreplaceable(error)) throw error;
    writeFileSync(path, bytes);
  }
}

/** Tries whether `putInPlace` can, and leaves everything as it was. */
function tryToPutInPlace(path: string, before: Stats | undefined): void {
  try {
    tryToReplaceFile(path);
  } catch (error) {
    if (!irreplaceable(error)) throw error;
    closeSync(openSync(path, constants.O_WRONLY | constants.O_CREAT));
    if (before === undefined) rmSync(path);
  }
}

/** Tries, for a file that will be replaced, whether it can be. @throws InputError where not */
export function tryToReplace(path: string, what: string): void {
  attempt(path, what, () => {
    const stats = statOf(path);
    // Whoever may put files into /dev would replace the device.
    if (stats && !stats.isFile() && !stats.isDirectory()) throw new Error('it is a device or a pipe');
    tryToReplaceFile(path);
  });
}

/** Writes all of some bytes to a descriptor, however few it takes at a time. @throws the system's error */
export function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done);
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
    this.#descriptor = attempt(path, what, () => openStream(path, constants.O_CREAT));
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
      writeAll(this.#descriptor, bytes);
    } catch (error) {
      throw outputFailure(this.#what, this.#path, error);
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
    throw new InputError(cannotWrite(what, path, error));
  }
}

/** A result cannot be where it was wanted, which shows only now that the work is done. */
export const outputFailure = (what: string, path: string, error: unknown): Failure =>
  new Failure(cannotWrite(what, path, error), OUTPUT_STATUS);

const cannotWrite = (what: string, path: string, error: unknown): string =>
  `Cannot write the ${what} ${path}: ${reason(error)}.`;

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
  EFBIG: 'it gets larger than a file may be',
  EDQUOT: 'the quota on the disk is used up',
  EROFS: 'the file system is read-only',
  ERR_FS_FILE_TOO_LARGE: 'it is larger than 2 GiB',
};

/** Why a file could not be used, as a clause. */
export function reason(error: unknown): string {
  const { code = '', message } = error as NodeJS.ErrnoException;
  return REASONS[code] ?? message;
}
