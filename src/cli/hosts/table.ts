import type { HostRow } from '../../vmm/host-survey.ts';
import type { BootEnd } from '../../vmm/kernel-boot.ts';
import { LOAD_POLICIES } from '../../vmm/load-policy.ts';

const HEAD = ['CPU', 'kernel', 'boots', 'PAE', 'NXE', '2nd CPU', ...LOAD_POLICIES, 'L0'] as const;

/** The table of `umbra hosts`: a line for each processor and kernel, then what its numbers and words stand for. */
export function hostTable(rows: readonly HostRow[]): string {
  const notes = new Notes();
  const lines = rows.map((row, index) => cells(row, rows[index - 1], notes));
  const table = [[...HEAD], ...lines];
  const widths = HEAD.map((_, column) => Math.max(...table.map((line) => line[column].length)));
  const text = table.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd(),
  );
  text.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('  '));
  return `${[...text, '', ...notes.lines].join('\n')}\n`;
}

function cells(row: HostRow, before: HostRow | undefined, notes: Notes): string[] {
  const same = before !== undefined && before.cpu === row.cpu && before.about === row.about;
  const { boot, second, policies, l0 } = row;
  return [
    same ? '' : `${row.cpu} ${notes.of(row.about)}`,
    row.kernel,
    endOf(boot, notes),
    row.pae ? '1' : '0',
    row.nxe ? '1' : '0',
    second === undefined ? '-' : endOf(second, notes),
    ...LOAD_POLICIES.map((policy) =>
      policies === undefined ? '-' : said(policies[policy], 'refuses', notes),
    ),
    l0 === undefined ? '-' : said(l0, 'cannot', notes),
  ];
}

const said = (sentence: string | null, word: string, notes: Notes): string =>
  sentence === null ? 'ok' : `${word} ${notes.of(sentence)}`;

function endOf(end: BootEnd, notes: Notes): string {
  if (end.kind === 'booted') return 'yes';
  if (end.kind === 'lost') return `lost ${notes.of(`${end.reason} at 0x${end.eip.toString(16)}`)}`;
  return `${end.exception} ${notes.of(`${end.exception} at 0x${end.eip.toString(16)}: ${end.instruction} (${end.place})`)}`;
}

/** Sentences below the table, each once. */
class Notes {
  readonly #numbers = new Map<string, number>();

  /** `[3]`, the number of a sentence. */
  of(sentence: string): string {
    const number = this.#numbers.get(sentence) ?? this.#numbers.size + 1;
    this.#numbers.set(sentence, number);
    return `[${number}]`;
  }

  get lines(): string[] {
    return [...this.#numbers].map(([sentence, number]) => `[${number}] ${sentence}`);
  }
}
