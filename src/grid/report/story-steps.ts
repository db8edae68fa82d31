import { text } from './page.ts';
import type { Moment, Story, StoryStep } from './story.ts';
import type { TableView } from './table-view.ts';

const address = (value: number): string => value.toString(16).padStart(8, '0');

/** The steps of a story as a table, with the MMU behind those where it changes and those that went wrong. */
export function storyBody({ steps, notes }: Story): string {
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
  `<tr class="role"><td colspan="5">root role ${before === '' ? '' : `<s>${text(before)}</s> `}<b>${text(after)}</b></td></tr>`;

function stepRows(step: StoryStep, index: number): string {
  const { text: what, level, registers, expected, seen, right, before, after } = step;
  const either = expected.map((one) => text(one === '' ? 'nothing' : one)).join('<br>or ');
  const saw = seen.length === 0 ? 'nothing' : seen.map(text).join('<br>');
  const cells = [
    `<td>${index + 1}</td><td title="${text(registers)}">${text(level)}</td>`,
    `<td><code>${text(what)}</code></td>`,
    `<td>${either}</td><td>${right && seen.length > 0 ? '✓' : saw}</td>`,
  ];
  const row = `<tr class="${right ? 'right' : 'wrong'}">${cells.join('')}</tr>`;
  if (right) return `${before === undefined ? '' : foundRow(before, index)}${row}`;
  return `${row}${before === undefined ? '' : behindRow(step, before, after, index)}`;
}

/** The tables as a step found them. */
function foundRow({ tables }: Moment, index: number): string {
  if (tables.rows.length === 0) return '';
  return `<tr class="tables"><td colspan="5"><details><summary>tables before step ${index + 1}</summary>${tablesOf(tables)}</details></td></tr>`;
}

/** The MMU as a wrong step found it and as it left it. */
function behindRow(
  { registers }: StoryStep,
  before: Moment,
  after: Moment | undefined,
  index: number,
): string {
  const moment = (when: string, { role, tables }: Moment): string =>
    `<p>${when} step ${index + 1}: root role <code>${text(role)}</code></p>${tablesOf(tables)}`;
  const left = after === undefined ? '' : moment('behind', after);
  return `<tr class="tables"><td colspan="5"><details class="behind" open><summary>L0's MMU before and behind step ${index + 1}</summary>
<p>registers <code>${text(registers)}</code></p>
${moment('before', before)}
${left}</details></td></tr>`;
}

/** The guest's tables beside L0's; for an L2 with nested paging its own tables, then L1's nested ones. */
function tablesOf({ addresses, rows, own, shadowPages }: TableView): string {
  const linear = addresses === 'linear';
  const guests = linear ? "the guest's entry and frame" : "L1's nested entry and frame";
  const ofL2 = own === undefined ? '' : rowsTable('linear', "L2's own entry and L2-physical frame", own);
  return `
${ofL2}${rowsTable(addresses, guests, rows)}
<p>Shadow pages below the root:</p><ul>${shadowPages.map((page) => `<li><code>${text(page)}</code></li>`).join('')}</ul>
`;
}

function rowsTable(addresses: string, guests: string, rows: TableView['rows']): string {
  const line = ({ from, to, guest, shadow }: TableView['rows'][number]): string =>
    `<tr><td>${address(from)}-${address(to)}</td><td>${text(guest)}</td><td>${text(shadow)}</td></tr>`;
  return `<table><thead><tr><th>${addresses}</th><th>${guests}</th><th>L0's entry and frame</th></tr></thead>
<tbody>${rows.map(line).join('')}</tbody></table>`;
}
