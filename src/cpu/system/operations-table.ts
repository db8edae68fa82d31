import { SVM_OPERATIONS } from '../svm/operations.ts';
import { BCD_OPERATIONS } from './bcd.ts';
import { DESCRIPTOR_QUERY_OPERATIONS } from './descriptor-queries.ts';
import { INTERRUPT_FLAG_OPERATIONS } from './interrupt-flag.ts';
import { INTERRUPT_OPERATIONS } from './interrupts.ts';
import { MISC_OPERATIONS } from './misc.ts';
import type { Operation } from './operations.ts';
import { PORT_OPERATIONS } from './ports.ts';
import { SEGMENT_OPERATIONS } from './segments.ts';
import { STACK_OPERATIONS } from './stack.ts';
import { STRING_OPERATIONS } from './strings.ts';
import { SYSTEM_REGISTER_OPERATIONS } from './system-registers.ts';
import { TEST_REGISTER_OPERATIONS } from './test-registers.ts';

/** Every operation by the name that the instruction table calls it. */
export const OPERATIONS: Readonly<Record<string, Operation | undefined>> = {
  ...SEGMENT_OPERATIONS,
  ...INTERRUPT_OPERATIONS,
  ...SYSTEM_REGISTER_OPERATIONS,
  ...STACK_OPERATIONS,
  ...STRING_OPERATIONS,
  ...PORT_OPERATIONS,
  ...BCD_OPERATIONS,
  ...DESCRIPTOR_QUERY_OPERATIONS,
  ...INTERRUPT_FLAG_OPERATIONS,
  ...MISC_OPERATIONS,
  ...SVM_OPERATIONS,
  ...TEST_REGISTER_OPERATIONS,
};
