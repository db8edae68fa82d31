/**
 * One bench on one engine, in a process of its own, so that neither engine meets the other's garbage and compiled code.
 * Arguments: bench, engine. Each message from the parent is one run; the answer is a measurement or an error.
 */

import { benchNamed } from './benches.ts';
import type { Measurement } from './engine.ts';
import type { EngineName } from './engines.ts';

export type Answer = { readonly measurement: Measurement } | { readonly error: string };

const [name, engine] = process.argv.slice(2);
const bench = benchNamed(name);
if (bench === undefined) throw new Error(`There is no bench "${name}".`);

process.on('message', async () => {
  let answer: Answer;
  try {
    answer = { measurement: await bench.measure(engine as EngineName) };
  } catch (error) {
    answer = { error: error instanceof Error ? error.message : String(error) };
  }
  process.send?.(answer);
});
