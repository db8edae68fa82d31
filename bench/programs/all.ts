import type { BenchProgram } from '../program.ts';
import { bytecode } from './bytecode.ts';
import { calls } from './calls.ts';
import { crc32 } from './crc32.ts';
import { integerLoop } from './integer-loop.ts';
import { interrupts } from './interrupts.ts';
import { narrowLoop } from './narrow-loop.ts';
import { pageFault } from './page-fault.ts';
import { pageTables } from './page-tables.ts';
import { pointerChase } from './pointer-chase.ts';
import { portIo } from './port-io.ts';
import { randomWalk } from './random-walk.ts';
import { repMovs64k } from './rep-movs-64k.ts';
import { repMovsShort } from './rep-movs-short.ts';
import { repStos } from './rep-stos.ts';
import { segmentLoads } from './segment-loads.ts';
import { selfModifying } from './self-modifying.ts';
import { sieve } from './sieve.ts';
import { systemCalls } from './system-calls.ts';
import { x87 } from './x87.ts';

/** Every program that any PC can run, in the order of the table. */
export const PROGRAMS: readonly BenchProgram[] = [
  integerLoop,
  narrowLoop,
  crc32,
  sieve,
  pointerChase,
  randomWalk,
  calls,
  bytecode,
  repMovs64k,
  repMovsShort,
  repStos,
  pageTables,
  pageFault,
  interrupts,
  systemCalls,
  segmentLoads,
  portIo,
  selfModifying,
  x87,
];
