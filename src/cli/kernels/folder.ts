import { mkdirSync, mkdtempSync, rmdirSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { InputError } from '../../arch/input-error.ts';
import { reason } from '../files.ts';

/** Makes a folder, and those above it, where they are missing. @throws InputError where nothing can be put into it */
export function makeFolder(path: string): void {
  try {
    make(resolve(path));
    // Whether files can be made says only the attempt.
    rmdirSync(mkdtempSync(join(path, '.umbra-')));
  } catch (error) {
    throw new InputError(`Cannot put files into ${path}: ${reason(error)}.`);
  }
}

/** Not with `recursive`: where a file system refuses with ENOENT, as /proc does, Node would try for ever. */
function make(folder: string): void {
  const stats = statSync(folder, { throwIfNoEntry: false });
  if (stats?.isDirectory()) return;
  if (stats === undefined) make(dirname(folder));
  mkdirSync(folder);
}
