import { PROBE_FORMS, type ProbeFormName } from '../../guest/probe-forms.ts';
import {
  type EditStep,
  HOST_MEMORY_ACTIONS,
  type ProbeStep,
  SETTABLE_FLAGS,
  type Step,
  type StepKind,
} from '../scenario.ts';
import {
  parseEntry,
  parseEntryEdit,
  parsePat,
  parsePlace,
  parseReference,
  parseSpace,
  parseVmcb,
} from './parts.ts';
import type { Words } from './words.ts';

const PAGE = 0x1000;

/** Reads the step of one kind behind its first word. `inner` gives a part of the line as words of the same line. */
type StepParser = (words: Words, inner: (part: string) => Words) => Step;

const PARSERS: Readonly<Record<StepKind, StepParser>> = {
  enter: parseEnter,
  leave: () => ({ do: 'leave' }),
  switch: (words) => ({ do: 'switch', ...parseSpace(words) }),
  set: parseSet,
  'load-cr3': (words) => ({ do: 'load-cr3', root: parseReference(words, 'root') }),
  'reload-cr3': () => ({ do: 'reload-cr3' }),
  edit: parseEdit,
  write: parseWrite,
  read: parseRead,
  invlpg: (words) => ({ do: 'invlpg', at: words.number('linear address') }),
  invlpga: parseInvlpga,
  probe: parseProbe,
  host: (words) => ({
    do: 'host',
    action: words.choose(HOST_MEMORY_ACTIONS, 'action of the host'),
    page: words.name('a page'),
  }),
  pat: (words) => ({ do: 'pat', ...(words.skip('=') && { value: parsePat(words) }) }),
  registers: () => ({ do: 'registers' }),
};

/** A step, as `stepText` prints it. Throws an InputError that names the line. */
export function parseStep(words: Words, inner: (part: string) => Words): Step {
  const kind = words.choose(Object.keys(PARSERS) as StepKind[], 'step');
  const step = PARSERS[kind](words, inner);
  words.end();
  return step;
}

function parseEnter(words: Words, inner: (part: string) => Words): Step {
  const l2 = words.name('an L2', '[A-Za-z]');
  const reflect = words.skip('reflect') ? { reflect: true } : {};
  const mend = words.skip('mend') ? { mend: parseEntryEdit(words) } : {};
  if (!words.skip('with')) return { do: 'enter', l2, ...reflect, ...mend };
  return { do: 'enter', l2, vmcb: parseVmcb(words.rest(), inner), ...reflect, ...mend };
}

function parseSet(words: Words): Step {
  const text = words.take('a flag, as in "set CR0.WP=1",');
  const [, name, bit] = /^([^=]*)=([01])$/.exec(text) ?? [];
  const flag = SETTABLE_FLAGS.find((candidate) => candidate === name);
  if (flag === undefined) {
    words.fail(`"${text}" sets no flag`, `write FLAG=0 or FLAG=1 with one of ${SETTABLE_FLAGS.join(', ')}`);
  }
  return { do: 'set', flag, value: bit === '1' };
}

function parseEdit(words: Words): EditStep {
  const edit = parseEntryEdit(words);
  const stores = words.done
    ? undefined
    : words.choose(['low-first', 'high-first'] as const, 'order of stores');
  return { do: 'edit', ...edit, ...(stores === undefined ? {} : { stores }) };
}

const BYTES_PLACE = /^(.+)\+([^+/]+)\/([0-9]+)$/;

function parseWrite(words: Words): Step {
  const { page, place, width } = parsePlace(words, BYTES_PLACE, [1, 2, 4] as const, 'page+0x10/4');
  checkInside(words, place, width);
  words.expect('=');
  return { do: 'write', page, offset: place, width, value: words.number('value') };
}

function parseRead(words: Words): Step {
  const { page, place, width } = parsePlace(words, BYTES_PLACE, [4, 8] as const, 'page+0x10/4');
  checkInside(words, place, width);
  return { do: 'read', page, offset: place, width };
}

function checkInside(words: Words, place: number, width: number): void {
  if (place + width > PAGE)
    words.fail(
      'That leaves the page',
      `the last offset for ${width} bytes is 0x${(PAGE - width).toString(16)}`,
    );
}

function parseInvlpga(words: Words): Step {
  const at = words.number('linear address');
  words.expect('asid');
  return { do: 'invlpga', at, asid: words.number('ASID') };
}

function parseProbe(words: Words): ProbeStep {
  const forms = PROBE_FORMS.map(({ name }): ProbeFormName => name);
  const form = words.choose(forms, 'form of probe');
  words.expect('cpl');
  const cpl = words.choose(['0', '3'] as const, 'privilege level') === '0' ? 0 : 3;
  words.expect('at');
  const at = words.number('linear address');
  const value = words.skip('value') ? { value: words.number('value') } : {};
  const entry = words.skip('entry') ? { entry: parseEntry(words, 4) } : {};
  const ac = words.skip('AC') ? { ac: true } : {};
  const about = words.done ? {} : { about: parseAbout(words) };
  return { do: 'probe', form, cpl, at, ...value, ...entry, ...ac, ...about };
}

function parseAbout(words: Words): string {
  const text = words.rest();
  const [, about] = /^\((.+)\)$/.exec(text) ?? [];
  return about ?? words.fail(`"${text}" is too much`, 'a remark stands in parentheses at the end');
}
