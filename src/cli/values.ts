/**
 * Option values: text from the command line to checked values. Each throws InputError that says what the text must be;
 * whoever asked puts the option's name and the text in front.
 */
import { InputError } from '../arch/input-error.ts';
import { isMemorySize, memoryRule, PC_MEMORY } from '../arch/memory-size.ts';
import { MOST_SEED, SEED_RULE } from '../grid/random/seed.ts';
import type { RawOptions } from '../machine/loaders/raw.ts';

const BINARY_UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };
/** Each job takes some 200 MiB. */
const MOST_JOBS = 256;
const DECIMAL_UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 };

/** Bytes of RAM: a number with K, M or G (binary) behind it, within what a machine can have. */
export function parseMemory(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([kmg]?)(?:i?b)?$/i.exec(text.trim());
  const bytes = match ? Number(match[1]) * (BINARY_UNITS[(match[2] as string).toLowerCase()] as number) : 0;
  if (isMemorySize(bytes, PC_MEMORY)) return bytes;
  throw new InputError(`must be ${memoryRule(PC_MEMORY)}; write it like 256M or 1G.`);
}

/** A number of instructions: a whole number, with K, M, G or T (decimal) behind it where wanted. */
export function parseCount(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([kmgt]?)$/i.exec(text.trim());
  const count = match ? Number(match[1]) * (DECIMAL_UNITS[(match[2] as string).toLowerCase()] as number) : 0;
  if (Number.isSafeInteger(count) && count > 0) return count;
  throw new InputError('must be a whole number from 1 up, like 5000000 or 3G.');
}

/** Threads to work on: a whole number. */
export function parseJobs(text: string): number {
  const jobs = /^\d{1,3}$/.test(text.trim()) ? Number(text) : 0;
  if (jobs >= 1 && jobs <= MOST_JOBS) return jobs;
  throw new InputError(`must be a whole number from 1 to ${MOST_JOBS}.`);
}

/** Hours: a positive number. */
export function parseHours(text: string): number {
  const hours = /^\d+(?:\.\d+)?$/.test(text.trim()) ? Number(text) : 0;
  if (hours > 0 && Number.isFinite(hours)) return hours;
  throw new InputError(`"${text}" is no time; write hours as a positive number, like 8 or 0.5.`);
}

/** Seconds: a positive number. */
export function parseSeconds(text: string): number {
  const seconds = /^\d+(?:\.\d+)?$/.test(text.trim()) ? Number(text) : 0;
  if (seconds > 0 && Number.isFinite(seconds)) return seconds;
  throw new InputError('must be a positive number of seconds, like 60 or 0.5.');
}

/** A regular expression over the serial output; ^ and $ match at line ends. */
export function parsePattern(text: string): RegExp {
  if (text === '') throw new InputError('must not be empty: it would match before anything is printed.');
  try {
    return new RegExp(text, 'm');
  } catch (error) {
    throw new InputError(`must be a JavaScript regular expression: ${(error as Error).message}.`);
  }
}

/** `ADDRESS[,real|protected]`: where a raw image goes and how it is entered. */
export function parseRaw(text: string): RawOptions {
  const match = /^(0x[0-9a-f]{1,8}|\d{1,10})(?:,(real|protected))?$/i.exec(text.trim());
  if (!match) throw new InputError('must be ADDRESS[,real|protected], like 0x7c00 or 0x100000,protected.');
  return { address: Number(match[1]), mode: match[2] === 'protected' ? 'protected' : 'real' };
}

/** `FILE [ARGUMENTS]` of a multiboot module: the file, and the whole text as the module's string. */
export function parseModule(
  text: string,
  exists: (path: string) => boolean,
): { path: string; commandLine: string } {
  const space = text.indexOf(' ');
  const path = space < 0 || exists(text) ? text : text.slice(0, space);
  if (path === '')
    throw new InputError(
      `The module "${text}" names no file; write it like initrd.bin or "initrd.bin arguments".`,
    );
  return { path, commandLine: text };
}

/** How many random scenarios: a whole number with K or M behind it where wanted. */
export function parseScenarioCount(text: string): number {
  const match = /^(\d+)([km]?)$/i.exec(text.trim());
  const count = match ? Number(match[1]) * (DECIMAL_UNITS[(match[2] as string).toLowerCase()] as number) : 0;
  if (count >= 1 && count <= MOST_SCENARIOS) return count;
  throw new InputError(`must be a whole number from 1 to 10M, like 500 or 20K.`);
}

const MOST_SCENARIOS = 1e7;

/** A seed: 32 bits. */
export function parseSeed(text: string): number {
  const seed = /^(0x[0-9a-f]+|[0-9]+)$/i.test(text.trim()) ? Number(text) : -1;
  if (seed >= 0 && seed <= MOST_SEED) return seed;
  throw new InputError(`must be ${SEED_RULE}.`);
}
