import type { ScenarioSummary } from '../run-grid.ts';
import type { GridReport, ReportCell, ReportSection } from './report.ts';
import type { Story, StoryStep } from './story.ts';
import { STYLE } from './style.ts';
import type { TableView } from './table-view.ts';

/** Text with what HTML would take for markup made harmless. */
const text = (value: string | number): string =>
  String(value).replace(/[&<>"]/g, (character) => ENTITIES[character] as string);
const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

const idOf = (name: string): string => name.replace(/[^a-z0-9]+/gi, '-');
const plural = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;
const address = (value: number): string => value.toString(16).padStart(8, '0');

/**
 * The grid as one page that needs nothing else: a heat map whose cells lead to their scenarios, and the stories of some,
 * step by step. Without scripts it can be read and printed; the script opens what a link leads to.
 */
export function htmlReport(report: GridReport, stories: readonly Story[]): string {
  const told = new Map(stories.map((story) => [idOf(`${story.on} ${story.name}`), story]));
  const cells = report.sections.flatMap((section) => section.cells);
  const wrong = cells.reduce((sum, cell) => sum + cell.mismatches, 0);
  const probes = cells.reduce((sum, cell) => sum + cell.probes, 0);
  const verdict = wrong === 0 ? 'no mismatch' : plural(wrong, 'mismatch').replace(/hs$/, 'hes');
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Umbra: the transition grid</title>
<style>${STYLE}</style>
<header>
<h1>The transition grid</h1>
<p class="verdict ${wrong === 0 ? 'right' : 'wrong'}">${plural(probes, 'probe')} judged by the oracle: ${verdict}.</p>
<p>${text(report.about)}</p>
</header>
<main>
${report.sections.map(heatMap).join('\n')}
${report.sections.map(({ on, cells: own }) => own.map((cell) => cellSection(on, cell, told)).join('\n')).join('\n')}
</main>
<script>${OPEN_TARGET}</script>
</html>
`;
}

/** Opens the details that a link leads to, and those around it. */
const OPEN_TARGET = `
const open = () => {
  let at = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const target = at;
  for (; at; at = at.parentElement) if (at.tagName === 'DETAILS') at.open = true;
  target?.scrollIntoView();
};
addEventListener('hashchange', open);
addEventListener('beforeprint', () => document.querySelectorAll('details.story').forEach((story) => { story.open = true; }));
open();
`;

function heatMap({ about, cells, rows, columns }: ReportSection): string {
  const cellOf = (row: string, column: string): string => {
    const cell = cells.find((candidate) => candidate.row === row && candidate.column === column);
    if (cell === undefined) return '<td class="none">–</td>';
    return heatCell(cell);
  };
  const line = (row: string): string =>
    `<tr><th scope="row">${text(row)}</th>${columns.map((column) => cellOf(row, column)).join('')}</tr>`;
  // What is in no pair of modes has a row to itself.
  const others = cells
    .filter((cell) => cell.column === undefined)
    .map((cell) => `<tr><th scope="row">${text(cell.row)}</th>${heatCell(cell, columns.length)}</tr>`);
  return `<table class="heat">
<caption>On ${text(about)}. Rows: paging mode of L1. Columns: paging mode of L2. A cell leads to its scenarios.</caption>
<thead><tr><th></th>${columns.map((column) => `<th scope="col">${text(column)}</th>`).join('')}</tr></thead>
<tbody>${rows.map(line).join('')}${others.join('')}</tbody>
</table>`;
}

function heatCell(cell: ReportCell, columns = 1): string {
  const share = cell.probes === 0 ? 1 : cell.mismatches / cell.probes;
  const skipped = cell.scenarios.length > 0 && cell.scenarios.every((one) => one.skipped !== undefined);
  const heat = cell.mismatches === 0 ? 0 : Math.min(1, 0.25 + share * 4);
  const right = skipped ? 'skipped' : `${cell.probes} right`;
  const words = cell.mismatches === 0 ? right : `${cell.mismatches} of ${cell.probes} wrong`;
  const state = cell.mismatches > 0 ? 'wrong' : skipped ? 'skipped' : 'right';
  const span = columns === 1 ? '' : ` colspan="${columns}"`;
  return `<td class="${state}"${span} style="--heat:${heat.toFixed(2)}"><a href="#${idOf(cell.title)}">${words}</a></td>`;
}

function cellSection(on: string, { title, scenarios }: ReportCell, told: ReadonlyMap<string, Story>): string {
  return `<section id="${idOf(title)}">
<h2>${text(title)}</h2>
${scenarios.map((scenario) => scenarioDetails(idOf(`${on} ${scenario.name}`), scenario, told)).join('\n')}
</section>`;
}

function scenarioDetails(
  id: string,
  { name, about, probes, mismatches, skipped }: ScenarioSummary,
  told: ReadonlyMap<string, Story>,
): string {
  const story = told.get(id);
  const state = mismatches.length === 0 ? 'right' : 'wrong';
  const ran =
    mismatches.length === 0
      ? plural(probes, 'probe')
      : `${mismatches.length} wrong of ${plural(probes, 'probe')}`;
  const count = skipped === undefined ? ran : `skipped: ${text(skipped)}`;
  const body =
    story === undefined
      ? `<p>See it all with <code>umbra grid --show ${text(name)}</code>.</p>`
      : storyBody(story);
  return `<details id="${id}" class="${story === undefined ? 'scenario' : 'scenario story'} ${state}">
<summary><code>${text(name)}</code> <span>${count}</span></summary>
<p>${text(about)}</p>
${mismatches.map((mismatch) => `<pre class="mismatch">${text(mismatch)}</pre>`).join('\n')}
${body}
</details>`;
}

function storyBody({ steps, notes }: Story): string {
  let role = '';
  const rows = steps.map((step, index) => {
    const changed = step.role !== role;
    const before = role;
    role = step.role;
    return (changed ? roleRow(before, step.role) : '') + stepRows(step, index);
  });
  return `${notes.map((note) => `<pre class="mismatch">${text(note)}</pre>`).join('\n')}
<table class="steps">
<thead><tr><th>step</th><th>who</th><th>what</th><th>expected</th><th>seen</th></tr></thead>
<tbody>${rows.join('\n')}</tbody>
</table>`;
}

const roleRow = (before: string, after: string): string =>
  `<tr class="role"><td colspan="5">role ${before === '' ? '' : `<s>${text(before)}</s> `}<b>${text(after)}</b></td></tr>`;

function stepRows(step: StoryStep, index: number): string {
  const { text: what, level, registers, expected, seen, right, tables } = step;
  const either = expected.map((one) => text(one === '' ? 'nothing' : one)).join('<br>or ');
  const saw = seen.length === 0 ? 'nothing' : seen.map(text).join('<br>');
  const cells = [
    `<td>${index + 1}</td><td title="${text(registers)}">${text(level)}</td>`,
    `<td><code>${text(what)}</code></td>`,
    `<td>${either}</td><td>${right && seen.length > 0 ? '✓' : saw}</td>`,
  ];
  const shown = tables === undefined ? '' : tablesRow(tables, index);
  return `${shown}<tr class="${right ? 'right' : 'wrong'}">${cells.join('')}</tr>`;
}

/** The tables as a step found them: the guest's beside the shadow's. */
function tablesRow({ rows, shadowPages }: TableView, index: number): string {
  if (rows.length === 0) return '';
  const line = ({ from, to, guest, shadow }: TableView['rows'][number]): string =>
    `<tr><td>${address(from)}-${address(to)}</td><td>${text(guest)}</td><td>${text(shadow)}</td></tr>`;
  return `<tr class="tables"><td colspan="5"><details><summary>tables before step ${index + 1}</summary>
<table><thead><tr><th>linear</th><th>the guest's entry and frame</th><th>L0's entry and frame</th></tr></thead>
<tbody>${rows.map(line).join('')}</tbody></table>
<p>Shadow pages below the root:</p><ul>${shadowPages.map((page) => `<li><code>${text(page)}</code></li>`).join('')}</ul>
</details></td></tr>`;
}
