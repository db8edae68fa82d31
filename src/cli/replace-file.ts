import {
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { resolve } from 'node:path';

/**
 * Gives a file new contents in one step: they are written beside it, waited for until the disk has them, and renamed over
 * it. Whatever is killed whenever, the file is whole, as it was or as it shall be.
 * @param ending what is added to the name of the file beside it. Unless given nobody else uses the name; one that is given
 *               is used again, so that what a killed process has left there does not stay
 * @throws the system's error, with everything as it was
 */
export function replaceFile(path: string, bytes: Uint8Array, ending = ownEnding()): void {
  const { fresh, target } = writeBeside(path, bytes, ending);
  try {
    renameSync(fresh, target);
  } catch (error) {
    rmSync(fresh);
    throw error;
  }
}

const ownEnding = (): string => `.${process.pid}.new`;

/** A disk may be full that still takes the name of a file. */
const SOMETHING = new Uint8Array(4096);

/** Tries whether `replaceFile` can, as far as that shows before its contents are known. @throws the system's error */
export function tryToReplaceFile(path: string): void {
  rmSync(writeBeside(path, SOMETHING, ownEnding()).fresh);
}

/** Writes a file beside the one at a path, or behind its symbolic links; nothing is left of it where that fails. */
function writeBeside(
  path: string,
  bytes: Uint8Array,
  ending: string,
): { readonly fresh: string; readonly target: string } {
  const before = statSync(path, { throwIfNoEntry: false });
  const target = before === undefined ? resolve(path) : realpathSync(path);
  // A folder lets its owner replace what he may not write; he would not expect it.
  if (before !== undefined) closeSync(openSync(target, constants.O_WRONLY));
  const fresh = `${target}${ending}`;
  const file = openSync(fresh, 'w');
  try {
    // The mode for `open` would be cut by the umask.
    if (before !== undefined) fchmodSync(file, before.mode);
    writeFileSync(file, bytes);
    fsyncSync(file);
    return { fresh, target };
  } catch (error) {
    rmSync(fresh);
    throw error;
  } finally {
    closeSync(file);
  }
}
