import { SCENARIO_MEMORY } from '../placement.ts';
import {
  type Entry,
  type EntryEdit,
  FLAGS,
  type L2State,
  PAGING_MODES,
  type PageReference,
  type SpaceState,
  TLB_CONTROL_NAMES,
  type VmcbChanges,
} from '../scenario.ts';
import type { Words } from './words.ts';

const PAGE = 0x1000;
const FLAG_NAMES = ['P', 'W', 'U', 'PWT', 'PCD', 'A', 'D', 'PS', 'G', 'NX'];

/** What `to` of an entry, `root` and `nested` may be: a page's name, its address for L2, an offset. */
const REFERENCE = /^[a-z][A-Za-z0-9._/-]*(?:@(0x[0-9a-f]+|[0-9]+))?(?:\+(0x[0-9a-f]+|[0-9]+))?$/;
/** The last page that an entry of 4 bytes or CR3 can name. */
const LAST_PAGE = 2 ** 32 - 0x1000;
/** Behind whatever page, it stays below 4 GiB. */
const MOST_OFFSET = 2 ** 32 - SCENARIO_MEMORY - 1;

export function parseReference(words: Words, what: string): PageReference {
  const word = words.take(what);
  const match = REFERENCE.exec(word);
  if (match === null || word === 'zero') {
    return words.fail(
      `"${word}" is no ${what}`,
      'it is the name of a page, with an offset as in table+0xfe0 or the address that L2 has it at, as in table@0x40001000',
    );
  }
  if (match[1] !== undefined) {
    const at = words.asNumber(match[1], 'address of a page for L2', LAST_PAGE);
    if (at % 0x1000 !== 0)
      words.fail(`"${word}" lies across pages`, 'its address for L2 is a multiple of 4096');
  }
  if (match[2] !== undefined) words.asNumber(match[2], 'offset', MOST_OFFSET);
  return word;
}

/** `data+0x1000 P W U 51`, `0x800000 P`, `zero`. */
export function parseEntry(words: Words, width: 4 | 8): Entry {
  if (words.skip('zero')) return { flags: '' };
  const first = words.peek ?? words.take('an entry, as in "data P W U",');
  let to: string | number | undefined;
  if (/^0x/i.test(first)) to = words.number('address', width === 4 ? 0xffff_ffff : Number.MAX_SAFE_INTEGER);
  else if (/^[a-z]/.test(first)) to = parseReference(words, 'page that an entry names');
  const flags: string[] = [];
  while (words.peek !== undefined && (FLAG_NAMES.includes(words.peek) || /^[0-9]+$/.test(words.peek))) {
    const flag = words.take('flag');
    const bit = Number(flag);
    if (bit >= width * 8 || (width === 4 && flag === 'NX')) {
      words.fail(
        `"${flag}" is no bit of an entry of ${width} bytes`,
        `bits are numbered 0 to ${width * 8 - 1}`,
      );
    }
    flags.push(flag);
  }
  if (to === undefined && flags.length === 0) {
    words.fail(
      `"${first}" is no entry`,
      `write a page and flags (${FLAG_NAMES.join(' ')} or bit numbers), or zero`,
    );
  }
  return { ...(to === undefined ? {} : { to }), flags: flags.join(' ') };
}

/** `PAE root pdpt CR0.WP EFER.NX`. */
export function parseSpace(words: Words): SpaceState {
  const mode = words.choose(PAGING_MODES, 'paging mode');
  const root = words.skip('root') ? parseReference(words, 'root') : undefined;
  if (root === undefined && mode !== 'off')
    words.fail(`Mode ${mode} has no root`, 'write "root" and a page behind it');
  return { mode, ...(root === undefined ? {} : { root }), flags: words.all(FLAGS) };
}

const PLACE = /^(.+)\[([^\]]+)\]\/([0-9]+)$/;

/** `table[3]/4 = data P W U`: an entry and where it goes. */
export function parseEntryEdit(words: Words): EntryEdit {
  const { page, place, width } = parsePlace(words, PLACE, [4, 8] as const, 'table[3]/4');
  if (place >= PAGE / width) {
    words.fail(
      `A page has no entry ${place} of ${width} bytes`,
      `entries are numbered 0 to ${PAGE / width - 1}`,
    );
  }
  words.expect('=');
  return { page, index: place, width, entry: parseEntry(words, width) };
}

/** `page[3]/4` or `page+0x10/2`: a place in a page and a width. */
export function parsePlace<Width extends number>(
  words: Words,
  pattern: RegExp,
  widths: readonly Width[],
  like: string,
): { page: string; place: number; width: Width } {
  const text = words.take(`a place like ${like}`);
  const [, page, place, size] = pattern.exec(text) ?? [];
  const width = widths.find((candidate) => candidate === Number(size));
  if (page === undefined || width === undefined) {
    words.fail(`"${text}" is no place in a page`, `write it like ${like}, of ${widths.join(', ')} bytes`);
  }
  return { page: words.asName(page, 'a page'), place: words.asNumber(place, 'place', PAGE - 1), width };
}

/** `PAE root pdpt CR0.WP asid 1 nested npt intercept #PF`. */
export function parseL2(words: Words): L2State {
  const space = parseSpace(words);
  words.expect('asid');
  const asid = words.number('ASID');
  const nested = words.skip('nested') ? { nested: parseReference(words, 'root of nested tables') } : {};
  const intercepts = words.skip('intercept');
  if (intercepts) words.expect('#PF');
  return { ...space, asid, ...nested, ...(intercepts ? { interceptPageFaults: true } : {}) };
}

/**
 * What follows `with`: `PAE, root pdpt, flags CR0.WP, asid 2, nested npt, intercept #PF, flush asid, inject 14 error 0x2`.
 */
export function parseVmcb(text: string, words: (part: string) => Words): VmcbChanges {
  return Object.assign({}, ...text.split(',').map((part) => parseChange(words(part)))) as VmcbChanges;
}

function parseChange(words: Words): VmcbChanges {
  const change = changeOf(words);
  words.end();
  return change;
}

function changeOf(words: Words): VmcbChanges {
  const mode = PAGING_MODES.find((candidate) => candidate === words.peek);
  if (mode !== undefined) {
    words.expect(mode);
    return { mode };
  }
  const what = words.take('a change of the VMCB');
  switch (what) {
    case 'root':
      return { root: parseReference(words, 'root') };
    case 'flags':
      return { flags: words.skip('none') ? [] : words.all(FLAGS) };
    case 'asid':
      return { asid: words.number('ASID') };
    case 'intercept':
      words.expect('#PF');
      return { interceptPageFaults: true };
    case 'no':
      if (words.skip('nested')) {
        words.expect('paging');
        return { nested: false };
      }
      words.expect('#PF');
      words.expect('intercept');
      return { interceptPageFaults: false };
    case 'nested':
      return { nested: parseReference(words, 'root of nested tables') };
    case 'nested-high':
      return { nestedHigh: words.number('high half of nCR3') };
    case 'g-pat':
      return { gPat: parsePat(words) };
    case 'flush':
      return { tlbControl: words.choose(TLB_CONTROL_NAMES, 'TLB_CONTROL') };
    case 'inject': {
      const vector = words.number('vector', 255);
      if (!words.skip('error')) return { inject: { vector } };
      return { inject: { vector, errorCode: words.number('error code') } };
    }
    default:
      return words.fail(
        `"${what}" is no change of a VMCB`,
        `changes are a paging mode (${PAGING_MODES.join(', ')}), root, flags, asid, nested, nested-high, g-pat, intercept, no, flush and inject`,
      );
  }
}

/** Sixteen digits, as every one of the eight types has two. */
export function parsePat(words: Words): string {
  const word = words.take('a value of the PAT');
  if (/^0x[0-9a-f]{16}$/.test(word)) return word;
  return words.fail(`"${word}" is no value of the PAT`, 'it is 0x and sixteen digits, as 0x0007040600070406');
}
