import type { EngineName } from './engines.ts';
import type { Figures, Result } from './report.ts';

interface Column {
  readonly title: string;
  readonly width: number;
  text(result: Result): string;
}

const BLANK = '-';
const NAME_WIDTH = 22;

const seconds = (value: number | undefined): string => (value === undefined ? BLANK : value.toFixed(3));
const mips = (value: number | undefined): string => (value === undefined ? BLANK : value.toFixed(1));

/** Three digits and a letter: 1.23 M. */
export function count(value: number | undefined): string {
  if (value === undefined) return BLANK;
  for (const [letter, size] of [
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ] as const) {
    if (value >= size) return `${(value / size).toPrecision(3)} ${letter}`;
  }
  return value >= 1 ? value.toPrecision(3) : value.toFixed(3);
}

const subject = (result: Result): Figures | undefined => result.engines.umbra ?? result.engines['umbra-l0'];

const peerColumns = (engine: EngineName, title: string): Column[] => [
  { title: `${title} s`, width: 10, text: (result) => seconds(result.engines[engine]?.seconds) },
  { title: 'CPU s', width: 8, text: (result) => seconds(result.engines[engine]?.cpuSeconds) },
  { title: 'M/s', width: 8, text: (result) => mips(result.engines[engine]?.mips) },
  { title: 'ratio', width: 9, text: (result) => ratio(result.ratios[engine]?.byClock) },
  { title: 'by CPU', width: 9, text: (result) => ratio(result.ratios[engine]?.byCpuTime) },
];

const ratio = (value: number | undefined): string =>
  value === undefined ? BLANK : `${value >= 0.1 ? value.toFixed(2) : value.toPrecision(2)}x`;

/** The table's lines. Results come one by one, so widths are fixed. */
export class Table {
  readonly #columns: readonly Column[];

  /** @param peers engines to compare with, in order */
  constructor(peers: readonly EngineName[]) {
    this.#columns = [
      { title: 'Umbra s', width: 9, text: (result) => seconds(subject(result)?.seconds) },
      { title: 'CPU s', width: 8, text: (result) => seconds(subject(result)?.cpuSeconds) },
      { title: 'M/s', width: 8, text: (result) => mips(subject(result)?.mips) },
      ...peers.flatMap((peer) => peerColumns(peer, peer === 'v86' ? 'v86' : 'no JIT')),
      { title: 'exits/s', width: 9, text: (result) => count(subject(result)?.exitsPerSecond) },
      { title: 'work/s', width: 9, text: (result) => count(subject(result)?.unitsPerSecond) },
    ];
  }

  get head(): string {
    return this.#line(
      'bench',
      this.#columns.map((column) => column.title),
      '',
    );
  }

  /** One result; what failed follows on lines of its own. */
  row(result: Result): string {
    const line = this.#line(
      result.name,
      this.#columns.map((column) => column.text(result)),
      result.unit,
    );
    const failures = Object.entries(result.failures).map(([engine, why]) => `  ${engine} failed: ${why}`);
    return [line, ...failures].join('\n');
  }

  #line(name: string, cells: readonly string[], unit: string): string {
    const padded = cells.map((cell, index) => cell.padStart(this.#columns[index].width));
    return `${name.padEnd(NAME_WIDTH)}${padded.join('')}  ${unit}`.trimEnd();
  }
}
