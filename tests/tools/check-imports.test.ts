import { describe, expect, it } from 'vitest';
import { complaint, importsOf } from '../../tools/check-imports.ts';

const judge = (file: string, specifier: string) => complaint({ file, line: 1, specifier });

describe('import directions', () => {
  it('lets a room import itself and the rooms before it', () => {
    expect(judge('l0/mmu/role.ts', '../vm.ts')).toBeUndefined();
    expect(judge('l0/mmu/role.ts', '../../arch/address.ts')).toBeUndefined();
    expect(judge('cli/main.ts', '../inspect/dump.ts')).toBeUndefined();
    expect(judge('isa/alu.ts', 'iced-x86')).toBeUndefined();
  });

  it('forbids a room that comes later', () => {
    expect(judge('arch/address.ts', '../isa/table.ts')).toBe('arch must not import isa');
    expect(judge('machine/clock.ts', '../l0/vm.ts')).toBe('machine must not import l0');
  });

  it('keeps the oracle to the names of arch', () => {
    expect(judge('oracle/translate.ts', '../arch/registers.ts')).toBeUndefined();
    expect(judge('oracle/translate.ts', '../arch/walker.ts')).toMatch(/the oracle may import only/);
    expect(judge('oracle/translate.ts', '../cpu/tlb.ts')).toMatch(/the oracle may import only/);
  });

  it('keeps node: modules in the command line', () => {
    expect(judge('machine/e820.ts', 'node:fs')).toMatch(/outside src\/cli/);
    expect(judge('cli/run.ts', 'node:fs')).toBeUndefined();
  });

  it('keeps the command line out of the library', () => {
    expect(judge('index.ts', './cli/main.ts')).toMatch(/must not import the command line/);
    expect(judge('index.ts', './l0/vm.ts')).toBeUndefined();
  });

  it('finds static, type-only, re-exported and dynamic imports with their lines', () => {
    const text = `import a from './a.ts';
import type { B } from './b.ts';
export * from './c.ts';
export { d } from './d.ts';
const e = await import('./e.ts');
export const text = "import x from './no.ts'";
`;
    const found = importsOf('machine/x.ts', text).map(({ specifier, line }) => [specifier, line]);
    expect(found.sort()).toEqual([
      ['./a.ts', 1],
      ['./b.ts', 2],
      ['./c.ts', 3],
      ['./d.ts', 4],
      ['./e.ts', 5],
    ]);
  });
});
