import type { EngineName } from './engines.ts';
import type { Figures, Ratio, Result } from './report.ts';

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

/** How the table calls the peers, and the order in which they are looked for in a result. */
const PEER_NAMES = { v86: 'v86', qemu: 'QEMU', 'qemu-kvm': 'KVM on QEMU' } as const;
type PeerName = keyof typeof PEER_NAMES;

const peerOf = ({ engines }: Result): PeerName | undefined =>
  (Object.keys(PEER_NAMES) as PeerName[]).find((name) => engines[name] !== undefined);

/** The columns of the engine that `choose` takes out of a result. */
function peerColumns(choose: (result: Result) => EngineName | undefined, title: string): Column[] {
  const of = <Value>(values: Partial<Record<EngineName, Value>>, engine: EngineName | undefined) =>
    engine === undefined ? undefined : values[engine];
  const figures = (result: Result): Figures | undefined => of(result.engines, choose(result));
  const against = (result: Result): Ratio | undefined => of(result.ratios, choose(result));
  return [
    { title: `${title} s`, width: 10, text: (result) => seconds(figures(result)?.seconds) },
    { title: 'CPU s', width: 8, text: (result) => seconds(figures(result)?.cpuSeconds) },
    { title: 'M/s', width: 8, text: (result) => mips(figures(result)?.mips) },
    { title: 'ratio', width: 9, text: (result) => ratio(against(result)?.byClock) },
    { title: 'by CPU', width: 9, text: (result) => ratio(against(result)?.byCpuTime) },
  ];
}

const ratio = (value: number | undefined): string =>
  value === undefined ? BLANK : `${value >= 0.1 ? value.toFixed(2) : value.toPrecision(2)}x`;

/** The table's lines. Results come one by one, so widths are fixed. */
export class Table {
  readonly #columns: readonly Column[];

  /** @param withInterpreter whether v86 is measured with its compiler off as well */
  constructor(withInterpreter: boolean) {
    this.#columns = [
      { title: 'Umbra s', width: 9, text: (result) => seconds(subject(result)?.seconds) },
      { title: 'CPU s', width: 8, text: (result) => seconds(subject(result)?.cpuSeconds) },
      { title: 'M/s', width: 8, text: (result) => mips(subject(result)?.mips) },
      ...peerColumns(peerOf, 'peer'),
      ...(withInterpreter ? peerColumns(() => 'v86-interpreter', 'no JIT') : []),
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
    const peer = peerOf(result);
    const line = this.#line(
      result.name,
      this.#columns.map((column) => column.text(result)),
      peer === undefined ? result.unit : `${result.unit} (peer: ${PEER_NAMES[peer]})`,
    );
    const failures = Object.entries(result.failures).map(([engine, why]) => `  ${engine} failed: ${why}`);
    return [line, ...failures].join('\n');
  }

  #line(name: string, cells: readonly string[], unit: string): string {
    const padded = cells.map((cell, index) => cell.padStart(this.#columns[index].width));
    return `${name.padEnd(NAME_WIDTH)}${padded.join('')}  ${unit}`.trimEnd();
  }
}
