import { INTERRUPT_OPERATIONS } from './interrupts.ts';
import type { Operation } from './operations.ts';
import { SEGMENT_OPERATIONS } from './segments.ts';
import { SYSTEM_REGISTER_OPERATIONS } from './system-registers.ts';

/** Every operation by the name that the instruction table calls it. */
export const OPERATIONS: Readonly<Record<string, Operation | undefined>> = {
  ...SEGMENT_OPERATIONS,
  ...INTERRUPT_OPERATIONS,
  ...SYSTEM_REGISTER_OPERATIONS,
};
