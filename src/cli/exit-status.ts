/** Exit statuses that mean the same in every command; from 64 up they are those of sysexits.h. */

/** Asked for wrongly, or a file that cannot be used: nothing has been done. */
export const USAGE_STATUS = 2;
/** What the work needs is not there: a queue, apt (EX_UNAVAILABLE). */
export const UNAVAILABLE_STATUS = 69;
/** Umbra itself is wrong (EX_SOFTWARE). */
export const INTERNAL_STATUS = 70;
/** A result could not be written (EX_IOERR). Even, so that no debug exit of a guest has it. */
export const OUTPUT_STATUS = 74;
/** What shells make of a signal. */
export const SIGNAL_STATUS = { SIGINT: 130, SIGTERM: 143 } as const;

const COMMON: Readonly<Record<number, string>> = {
  [USAGE_STATUS]: 'wrong usage, or a file that cannot be used: said before any work',
  [INTERNAL_STATUS]: 'an error in Umbra itself',
  [OUTPUT_STATUS]: 'a result could not be written: a file, or standard output',
};

/**
 * The paragraph of a command's help about its exit statuses: its own, and those that all commands have. An object has its
 * numbers in order, and behind them what is no number.
 */
export function exitStatusHelp(own: Readonly<Record<number | string, string>>): string {
  const rows = Object.entries({ ...COMMON, ...own });
  const width = Math.max(...rows.map(([status]) => status.length));
  return ['Exit status:', ...rows.map(([status, when]) => `  ${status.padEnd(width)}  ${when}`)].join('\n');
}

/** Where a queue does the work. */
export const QUEUE_EXIT_STATUS = {
  [UNAVAILABLE_STATUS]: 'no Redis is at --queue, or its workers did not do the work',
} as const;
