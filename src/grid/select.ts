import { InputError } from '../arch/input-error.ts';
import type { MatrixCell } from './matrix/matrix.ts';

/**
 * What a pattern matches: with `*` or `?` it is a glob over the whole name (`*` also matches slashes), without it any
 * part of the name.
 */
export function nameMatcher(pattern: string): (name: string) => boolean {
  if (!/[*?]/.test(pattern)) return (name) => name.includes(pattern);
  const literal = (text: string): string => text.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  const glob = new RegExp(`^${literal(pattern).replaceAll('*', '.*').replaceAll('?', '.')}$`);
  return (name) => glob.test(name);
}

/**
 * The cells with those of their scenarios whose names match any of the patterns; all where there is no pattern. Cells
 * without scenarios are left out.
 * @throws InputError for a pattern that matches no scenario
 */
export function selectScenarios(
  cells: readonly MatrixCell[],
  patterns: readonly string[],
): readonly MatrixCell[] {
  if (patterns.length === 0) return cells;
  const matchers = patterns.map(nameMatcher);
  const names = cells.flatMap(({ scenarios }) => scenarios.map(({ name }) => name));
  const idle = patterns.find((_, index) => !names.some(matchers[index]));
  if (idle !== undefined) {
    throw new InputError(
      `No scenario's name matches "${idle}" among the ${names.length}, of which the first is ${names[0]}; --list shows all.`,
    );
  }
  return cells
    .map((cell) => ({
      ...cell,
      scenarios: cell.scenarios.filter(({ name }) => matchers.some((matches) => matches(name))),
    }))
    .filter(({ scenarios }) => scenarios.length > 0);
}
