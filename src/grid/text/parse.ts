import { InputError } from '../../arch/input-error.ts';
import {
  CPU_FEATURES,
  type CpuFeature,
  type Entry,
  type L2State,
  type Page,
  type Scenario,
  type SpaceState,
  type Step,
} from '../scenario.ts';
import { L1 } from '../tracker.ts';
import { parseEntry, parseL2, parseSpace } from './parts.ts';
import { parseStep } from './steps.ts';
import { Words } from './words.ts';

interface MutablePage {
  at?: number;
  entries4?: Record<number, Entry>;
  entries8?: Record<number, Entry>;
  words?: Record<number, number>;
}

const FIRST_LINE = 'a file begins with "scenario NAME"';

/** A scenario in the making, and where it began. */
interface Draft {
  readonly heading: Words;
  readonly name: string;
  about?: string;
  features: CpuFeature[];
  absent?: CpuFeature[];
  l1?: SpaceState;
  readonly l2: Record<string, L2State>;
  readonly pages: Record<string, MutablePage>;
  page?: MutablePage;
  readonly steps: Step[];
}

/**
 * Reads the scenarios of a text in the form that `scenarioText` prints. Blank lines and lines that begin with # are
 * skipped. Throws an InputError that names the line, what is wrong there and what would be right.
 * @param source what messages call the text: a file name
 */
export function parseScenarios(text: string, source: string): Scenario[] {
  const drafts: Draft[] = [];
  text.split(/\r?\n/).forEach((line, index) => {
    const words = new Words(line, source, index + 1);
    if (words.blank) return;
    if (words.skip('scenario')) {
      drafts.push({
        heading: words,
        name: words.name('a scenario', '[a-z0-9]'),
        features: [],
        l2: {},
        pages: {},
        steps: [],
      });
      words.end();
      return;
    }
    const draft = drafts.at(-1) ?? words.fail(`"${words.text}" stands before any scenario`, FIRST_LINE);
    if (draft.about === undefined) draft.about = words.text;
    else parseLine(draft, words, (part) => new Words(part, source, index + 1));
  });
  if (drafts.length === 0) throw new InputError(`${source} has no scenario; ${FIRST_LINE}.`);
  return drafts.map(finish);
}

function parseLine(draft: Draft, words: Words, inner: (part: string) => Words): void {
  const first = words.take('a line of a scenario');
  if (/^[0-9]+\.$/.test(first)) {
    draft.steps.push(parseStep(words, inner));
    return;
  }
  if (first.startsWith('[')) parsePageEntry(draft, first, words);
  else if (first.startsWith('+')) parsePageWord(draft, first, words);
  else if (first === 'page') parsePage(draft, words);
  else if (first === 'needs') draft.features = parseFeatures(words);
  else if (first === 'on') {
    for (const word of ['a', 'processor', 'without']) words.expect(word);
    draft.absent = parseFeatures(words);
  } else if (first.endsWith(':'))
    parseLevel(draft, words.asName(first.slice(0, -1), 'a level', '[A-Za-z]'), words);
  else {
    words.fail(
      `"${words.text}" is no line of a scenario`,
      'lines begin with needs, on, a level and a colon, page, an entry [3]/4, a word +0x10, or a step number 1.',
    );
  }
  words.end();
}

function parseFeatures(words: Words): CpuFeature[] {
  const features: CpuFeature[] = [];
  do features.push(words.choose(CPU_FEATURES, 'feature'));
  while (!words.done);
  return features;
}

function parseLevel(draft: Draft, level: string, words: Words): void {
  if (level === L1 ? draft.l1 !== undefined : Object.hasOwn(draft.l2, level))
    words.fail(`${level} is there twice`, 'every level has one line');
  if (level === L1) draft.l1 = parseSpace(words);
  else draft.l2[level] = parseL2(words);
}

function parsePage(draft: Draft, words: Words): void {
  const name = words.name('a page');
  if (Object.hasOwn(draft.pages, name))
    words.fail(`Page "${name}" is there twice`, 'every page has a name of its own');
  draft.page = words.skip('at') ? { at: words.number('physical address') } : {};
  draft.pages[name] = draft.page;
}

function parsePageEntry(draft: Draft, place: string, words: Words): void {
  const [, index, size] = /^\[([0-9]+)\]\/([48])$/.exec(place) ?? [];
  if (index === undefined) words.fail(`"${place}" is no place of an entry`, 'write it like [3]/4 or [3]/8');
  const width = size === '4' ? 4 : 8;
  const page = pageOf(draft, words);
  const entries = width === 4 ? (page.entries4 ??= {}) : (page.entries8 ??= {});
  entries[Number(index)] = parseEntry(words, width);
}

function parsePageWord(draft: Draft, place: string, words: Words): void {
  const offset = words.asNumber(place.slice(1), 'offset in a page', 0xffc);
  (pageOf(draft, words).words ??= {})[offset] = words.number('word');
}

const pageOf = ({ page }: Draft, words: Words): MutablePage =>
  page ?? words.fail('That belongs to no page', 'a line "page NAME" must come before');

function finish({ heading, name, about, features, absent, l1, l2, pages, steps }: Draft): Scenario {
  if (about === undefined)
    return heading.fail(
      `Scenario ${name} says nothing of itself`,
      'the line behind must be a sentence about it',
    );
  if (l1 === undefined)
    return heading.fail(
      `Scenario ${name} has no L1`,
      'a line like "L1: 2-level root pd" must say how it starts',
    );
  const without = absent === undefined ? {} : { absent };
  return { name, about, features, ...without, pages: pages as Record<string, Page>, l1, l2, steps };
}
