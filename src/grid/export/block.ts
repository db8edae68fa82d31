import { PAGE_SIZE } from '../../arch/address.ts';
import { AGENT_LAYOUT } from '../../guest/agent-layout.ts';
import type { Segment } from '../../guest/elf.ts';
import { BLOCK, BLOCK_HEADER_SIZE, STEP_HEADER_SIZE, TABLE, TABLE_SIZE } from '../../guest/suite/format.ts';
import { type CompiledScenario, compileScenario } from '../compile.ts';
import type { Scenario } from '../scenario.ts';
import { BlockWriter } from './block-writer.ts';
import { type ExpectedStep, expectScenario } from './expectation.ts';
import { writePieces } from './pieces.ts';
import { type ProcessorClass, processorClasses } from './processor-classes.ts';

/** A block, and MAXPHYADDR that processors may have at most to run it. */
export interface ScenarioBlock {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly maxBits: number;
}

/** The block of a scenario (see src/guest/suite/format.ts): its memory, its script and what the oracle expects. */
export function scenarioBlock(scenario: Scenario): ScenarioBlock {
  const compiled = compileScenario(scenario);
  const touched = new Set<number>();
  const classes = processorClasses(scenario, (facts) => {
    const expected = expectScenario(compiled, facts);
    for (const page of expected.touchedPages) touched.add(page);
    return expected;
  });
  const block = new BlockWriter();
  block.words(...new Array<number>(BLOCK_HEADER_SIZE / 4).fill(0));
  block.patch(BLOCK.STEPS * 4, scenario.steps.length);
  block.patch(BLOCK.TABLES * 4, block.here);
  writeClasses(block, classes);
  block.patch(BLOCK.PIECES * 4, block.here);
  writePieces(block, [...zeroPages(compiled, touched), ...compiled.own]);
  return { bytes: block.bytes(), maxBits: mostBits(classes) };
}

/** MAXPHYADDR for which every kind of processor has a class. */
function mostBits(classes: readonly ProcessorClass[]): number {
  const byKind = new Map<number, number>();
  for (const { pdptes, maxBits } of classes) byKind.set(pdptes, maxBits);
  return Math.min(...byKind.values());
}

/** Pages that the oracle has looked at and nobody has placed: they are zero at the start. */
function zeroPages({ placement }: CompiledScenario, touched: ReadonlySet<number>): Segment[] {
  const placed = new Set(placement.values());
  return [...touched]
    .filter((page) => page >= AGENT_LAYOUT.PAGES && !placed.has(page))
    .sort((a, b) => a - b)
    .map((address) => ({ address, bytes: new Uint8Array(0), reserved: PAGE_SIZE }));
}

function writeClasses(block: BlockWriter, classes: readonly ProcessorClass[]): void {
  const start = block.here;
  for (const { pdptes, maxBits } of classes) block.words(pdptes, maxBits, 0);
  const texts = new Texts(block);
  for (const { expectation } of classes) {
    for (const step of expectation.steps) texts.place(step);
  }
  const tables = new Map<string, number>();
  classes.forEach(({ expectation: { key, steps } }, index) => {
    if (!tables.has(key)) {
      tables.set(key, block.here);
      for (const step of steps) writeStep(block, step, texts);
    }
    block.patch(start + index * TABLE_SIZE + TABLE.STEPS * 4, tables.get(key)!);
  });
}

function writeStep(block: BlockWriter, step: ExpectedStep, texts: Texts): void {
  const words = step.alternatives.flat();
  const length = STEP_HEADER_SIZE + words.length * 4;
  const { alternatives, expected, registers } = step;
  block.words(
    length,
    alternatives.length,
    texts.at(step.step),
    texts.at(expected),
    texts.at(registers),
    ...words,
  );
}

/** Texts in a block, each once. */
class Texts {
  readonly #block: BlockWriter;
  readonly #offsets = new Map<string, number>();

  constructor(block: BlockWriter) {
    this.#block = block;
  }

  place({ step, expected, registers }: ExpectedStep): void {
    for (const text of [step, expected, registers]) {
      if (this.#offsets.has(text)) continue;
      this.#offsets.set(text, this.#block.here);
      this.#block.text(text);
    }
  }

  at(text: string): number {
    return this.#offsets.get(text)!;
  }
}
