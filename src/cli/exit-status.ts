/** Exit statuses that mean the same in every command; from 64 up they are those of sysexits.h. */

/** Asked for wrongly, or a file that cannot be used: nothing has been done. */
export const USAGE_STATUS = 2;
/** Umbra itself is wrong (EX_SOFTWARE). */
export const INTERNAL_STATUS = 70;
/** A result could not be written (EX_IOERR). Even, so that no debug exit of a guest has it. */
export const OUTPUT_STATUS = 74;
