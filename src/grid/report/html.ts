import type { ScenarioSummary } from '../run-grid.ts';
import { htmlPage, idOf, plural, text } from './page.ts';
import type { GridReport, ReportCell, ReportSection } from './report.ts';
import type { Story } from './story.ts';
import { storyBody } from './story-steps.ts';

/**
 * The grid as one page: a heat map for each host, whose cells lead to their scenarios, and the stories of some, step by
 * step.
 */
export function htmlReport(report: GridReport, stories: readonly Story[]): string {
  const told = new Map(stories.map((story) => [idOf(`${story.on} ${story.name}`), story]));
  const cells = report.sections.flatMap((section) => section.cells);
  const wrong = cells.reduce((sum, cell) => sum + cell.mismatches, 0);
  const probes = cells.reduce((sum, cell) => sum + cell.probes, 0);
  const verdict = wrong === 0 ? 'no mismatch' : plural(wrong, 'mismatch').replace(/hs$/, 'hes');
  return htmlPage({
    title: 'The transition grid',
    verdict: `${plural(probes, 'probe')} judged by the oracle: ${verdict}.`,
    right: wrong === 0,
    about: text(report.about),
    main: `${report.sections.map(heatMap).join('\n')}
${report.sections.map(({ on, cells: own }) => own.map((cell) => cellSection(on, cell, told)).join('\n')).join('\n')}`,
  });
}

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
