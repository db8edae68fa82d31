import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { blocksIn, PAGES, withBlocks } from '../../tools/docs/blocks.ts';

const read = (page: string): string => readFileSync(new URL(`../../${page}`, import.meta.url), 'utf8');

describe.each(Object.entries(PAGES))('%s', (name, blocks) => {
  const page = read(name);

  it('shows everything that there is to print', () => {
    expect(blocksIn(page).sort()).toEqual(Object.keys(blocks).sort());
  });

  it('shows what Umbra prints; `npm run docs` prints it anew', { timeout: 60_000 }, () => {
    expect(page).toBe(withBlocks(page, blocks));
  });
});

describe('docs/smep-and-not-wp.md', () => {
  const run = PAGES['docs/smep-and-not-wp.md']['smep-without-wp']();

  // What the page is about must be in the runs, whoever changes the scenarios: these lines are of the manual, not of a run.
  it.each([
    [
      'a kernel write makes the entry writable, supervisor-only and NX',
      /kernel writes +done .* 0x8[0-9a-f]{15} rw--$/m,
    ],
    ['a kernel fetch from it faults with P and I/D', /kernel fetches +#PF 0x11 P\|F .* rw--$/m],
    ['a user access flips it back', /user fetches +done .* r-xu$/m],
    ['with WP set the write is refused', /set CR0\.WP=1[\s\S]*? kernel writes +#PF 0x3 P\|W /],
  ])('%s', (_, line) => {
    expect(run).toMatch(line);
  });
});

describe('docs/nested-paging.md', () => {
  const blocks = PAGES['docs/nested-paging.md'];

  // APM vol. 2 15.25.6: error code in the low half of EXITINFO1, bit 32 for a final address, the address in EXITINFO2.
  it('hands a nested fault to L1 with all of EXITINFO1, where the tables of L1 forbid the access', () => {
    expect(blocks['a fault of L1']()).toMatch(
      /^kvm_nested_vmexit_inject: reason npf ext_inf1 0x0000000100000004 ext_inf2 0x0000000041000f80$/m,
    );
  });

  it('tells L1 nothing of a fault that they allow, and maps the clean page read-only', () => {
    const again = blocks['a fault of L0']();
    expect(again).not.toMatch(/^kvm_nested_vmexit_inject/m);
    expect(again).toMatch(/^kvm_mmu_set_spte: gfn 304 .*\(r-xu\) level 1 .* 4-byte /m);
  });
});

describe('withBlocks', () => {
  it('leaves everything else alone, and refuses blocks that there are not', () => {
    expect(withBlocks('a\n```\nb\n```\n', {})).toBe('a\n```\nb\n```\n');
    expect(() => withBlocks('<!-- run: this -->\n```\n```', {})).toThrow('There is no block "this".');
  });
});
