import { describe, expect, it } from 'vitest';
import { CR0, CR4, EFER } from '../../src/oracle/bits.ts';
import type { OracleCpu } from '../../src/oracle/cpu.ts';
import type { PhysicalMemory } from '../../src/oracle/memory.ts';
import { type NestedOutcome, translateNested } from '../../src/oracle/nested.ts';
import type { Access } from '../../src/oracle/rights.ts';
import { A, D, entries32, entries64, fourLevel, NX, P, PS, pae, ram, twoLevel, U, W } from './helpers.ts';

const read: Access = { kind: 'read' };
const write: Access = { kind: 'write' };
const fetch: Access = { kind: 'fetch' };
const FINAL = 1n << 32n;
const TABLE = 1n << 33n;

/** Guest linear 0x00c0_5678 of a 2-level guest: PDE 3, PTE 5; its tables are guest-physical 0x1000 and 0x2000. */
const linear = 0x00c0_5678n;
const guest = twoLevel({ cr3: 0x1000n });

/**
 * Nested tables for each host format: guest-physical page n (0 to 15) is system-physical 0x10_0000 + n pages. The
 * roots are at 0x8000; entries of the lowest table are at `leaf(n)`.
 */
const HOSTS: Record<
  string,
  { host: OracleCpu; leaf: (n: bigint) => bigint; width: 4 | 8; build(memory: PhysicalMemory): void }
> = {
  '2-level': {
    host: twoLevel({ cr3: 0x8000n }),
    leaf: (n) => 0x9000n + 4n * n,
    width: 4,
    build: (memory) => entries32(memory, 0x8000n, 0x9000n | P | W | U),
  },
  PAE: {
    host: pae({ cr3: 0x8000n }),
    leaf: (n) => 0xa000n + 8n * n,
    width: 8,
    build: (memory) => entries64(memory, 0x8000n, 0x9000n | P, 0x9000n, 0xa000n | P | W | U),
  },
  '4-level': {
    host: fourLevel({ cr3: 0x8000n }),
    leaf: (n) => 0xb000n + 8n * n,
    width: 8,
    build: (memory) =>
      entries64(
        memory,
        0x8000n,
        0x9000n | P | W | U,
        0x9000n,
        0xa000n | P | W | U,
        0xa000n,
        0xb000n | P | W | U,
      ),
  },
};

const system = (n: bigint) => 0x10_0000n + n * 0x1000n;

function build(format: string) {
  const { host, leaf, width, build: roots } = HOSTS[format]!;
  const memory = ram();
  roots(memory);
  for (let n = 0n; n < 16n; n++) memory.write(leaf(n), width, system(n) | P | W | U);
  // Guest tables, at their system-physical places.
  entries32(memory, system(1n) + 0xcn, 0x2000n | P | W | U, system(2n) + 0x14n, 0x7000n | P | W | U);
  const run = (access: Access, cpu: OracleCpu = guest, hostCpu: OracleCpu = host): NestedOutcome =>
    translateNested(cpu, { host: hostCpu }, memory, linear, access);
  const set = (n: bigint, value: bigint) => memory.write(leaf(n), width, value);
  return { memory, run, set, leaf, width, host };
}

describe.each(Object.keys(HOSTS))('nested paging with a %s host (APM vol. 2 15.25)', (format) => {
  it('translates twice, and sets flags in both tables: nested dirty for guest tables always (15.25.5)', () => {
    const { run, leaf } = build(format);
    const outcome = run(read);
    expect(outcome).toMatchObject({ outcome: 'ok', address: system(7n) + 0x678n, guestAddress: 0x7678n });
    const after = new Map(outcome.outcome === 'ok' ? outcome.writes.map((w) => [w.address, w.after]) : []);
    expect(after.get(leaf(1n))).toBe(system(1n) | P | W | U | A | D);
    expect(after.get(leaf(2n))).toBe(system(2n) | P | W | U | A | D);
    expect(after.get(leaf(7n))).toBe(system(7n) | P | W | U | A);
    expect(after.get(system(1n) + 0xcn)).toBe(0x2000n | P | W | U | A);
    expect(after.get(system(2n) + 0x14n)).toBe(0x7000n | P | W | U | A);
  });

  it('reports the final address with bit 32, a table with bit 33 and as a write (15.25.6)', () => {
    const absentPage = build(format);
    absentPage.set(7n, 0n);
    expect(absentPage.run(read)).toMatchObject({ exitInfo1: [FINAL | 4n], exitInfo2: 0x7678n });
    expect(absentPage.run(write)).toMatchObject({ exitInfo1: [FINAL | 6n], exitInfo2: 0x7678n });
    const absentTable = build(format);
    absentTable.set(2n, 0n);
    // Even for a code read the table access is a data write.
    expect(absentTable.run(fetch)).toMatchObject({ exitInfo1: [TABLE | 6n], exitInfo2: 0x2014n });
    absentTable.set(1n, 0n);
    expect(absentTable.run(read)).toMatchObject({ exitInfo1: [TABLE | 6n], exitInfo2: 0x100cn });
  });

  it('needs guest tables writable at the nested level, and everything user', () => {
    const readOnlyTable = build(format);
    readOnlyTable.set(2n, system(2n) | P | U);
    expect(readOnlyTable.run(read)).toMatchObject({ exitInfo1: [TABLE | 7n] });
    const supervisorPage = build(format);
    supervisorPage.set(7n, system(7n) | P | W);
    expect(supervisorPage.run(read)).toMatchObject({ exitInfo1: [FINAL | 5n] });
  });

  it('hCR0.WP is ignored (15.25.7)', () => {
    const { run, set, host } = build(format);
    set(7n, system(7n) | P | U);
    const noWp = { ...host, cr0: host.cr0 & ~CR0.WP };
    expect(run(write, guest, noWp)).toMatchObject({ exitInfo1: [FINAL | 7n] });
    expect(run(write, { ...guest, cr0: CR0.PE | CR0.PG }, noWp)).toMatchObject({ exitInfo1: [FINAL | 7n] });
  });

  it('guest faults come in walk order and before the final nested walk (15.25.6)', () => {
    const { run, set, memory } = build(format);
    set(7n, 0n);
    entries32(memory, system(2n) + 0x14n, 0x7000n | P);
    expect(run(write)).toMatchObject({ outcome: 'fault', vector: 14, errorCode: 3, cr2: linear });
    entries32(memory, system(2n) + 0x14n, 0n);
    expect(run(write)).toMatchObject({ outcome: 'fault', errorCode: 2 });
    set(2n, 0n);
    expect(run(write)).toMatchObject({ outcome: 'nested fault', exitInfo1: [TABLE | 6n] });
    entries32(memory, system(1n) + 0xcn, 0n);
    expect(run(write)).toMatchObject({ outcome: 'fault', errorCode: 2 });
  });

  it('a guest without paging has only the final walk (15.25.5)', () => {
    const { run, set } = build(format);
    const off = { ...guest, cr0: CR0.PE };
    const at = (access: Access) => run(access, off);
    // Linear 0x00c0_5678 is guest-physical page 0xc05, which is not mapped here.
    expect(at(read)).toMatchObject({ outcome: 'nested fault', exitInfo1: [FINAL | 4n], exitInfo2: linear });
    set(7n, system(7n) | P | W | U);
    const { memory, host } = build(format);
    expect(translateNested(off, { host }, memory, 0x7678n, read)).toMatchObject({
      address: system(7n) + 0x678n,
    });
  });
});

describe('formats', () => {
  it('execute-disable and reserved bits of the host format', () => {
    const { run, set, host } = build('PAE');
    set(7n, system(7n) | P | W | U | NX);
    expect(run(read)).toMatchObject({ outcome: 'ok' });
    expect(run(fetch)).toMatchObject({ exitInfo1: [FINAL | 0x15n] });
    // Host EFER.NXE = 0: bit 63 is reserved, whatever the guest's EFER. Bit 4 either way (15.25.6 against 8.4.2).
    const noNxe = { ...host, efer: 0n };
    expect(run(read, guest, noNxe)).toMatchObject({ exitInfo1: [FINAL | 0xdn] });
    expect(run(fetch, guest, noNxe)).toMatchObject({ exitInfo1: [FINAL | 0xdn, FINAL | 0x1dn] });
  });

  it('2-level host with PSE and PSE-36: 4-MByte nested pages', () => {
    const memory = ram();
    const host = twoLevel({ cr3: 0x8000n }, CR4.PSE);
    entries32(memory, 0x8000n, 0x40_0000n | P | W | U | PS);
    entries32(memory, 0x40_100cn, 0x2000n | P | W | U, 0x40_2014n, 0x7000n | P | W | U);
    expect(translateNested(guest, { host }, memory, linear, write)).toMatchObject({ address: 0x40_7678n });
    entries32(memory, 0x8000n, P | W | U | PS | (1n << 21n));
    expect(translateNested(guest, { host }, memory, linear, write)).toMatchObject({
      exitInfo1: [TABLE | 0xfn],
    });
  });

  it('a PAE guest reads its PDPTEs from memory on use, and reserved bits there are #PF (15.25.10)', () => {
    const { memory, host } = build('PAE');
    const paeGuest = pae({ cr3: 0x4000n, pdptes: [0n, 0n, 0n, 0n] });
    entries64(
      memory,
      system(4n),
      0x5000n | P,
      system(5n) + 0x30n,
      0x6000n | P | W | U,
      system(6n) + 0x28n,
      0x7001n,
    );
    expect(translateNested(paeGuest, { host }, memory, linear, read)).toMatchObject({
      address: system(7n) + 0x678n,
    });
    entries64(memory, system(4n), 0x5000n | P | 2n);
    expect(translateNested(paeGuest, { host }, memory, linear, read)).toMatchObject({
      outcome: 'fault',
      errorCode: 9,
    });
  });

  it('a guest physical address that the nested format cannot hold has no entry: not present', () => {
    const { memory, host } = build('2-level');
    const paeGuest = pae({ cr3: 0x4000n });
    entries64(
      memory,
      system(4n),
      0x5000n | P,
      system(5n) + 0x30n,
      0x6000n | P,
      system(6n) + 0x28n,
      (1n << 32n) | P,
    );
    expect(translateNested(paeGuest, { host }, memory, linear, read)).toMatchObject({
      exitInfo1: [FINAL | 4n],
      exitInfo2: 0x1_0000_0678n,
    });
  });

  it('needs paging in the host (15.25.3)', () => {
    const { memory, host } = build('2-level');
    const off = { ...host, cr0: CR0.PE };
    expect(() => translateNested(guest, { host: off }, memory, linear, read)).toThrow(/CR0.PG/);
  });

  it('a guest physical address has no sign: bit 47 is an index bit of 4-level nested tables', () => {
    const { memory, host } = build('4-level');
    const off = fourLevel({ cr0: CR0.PE, efer: 0n, cr4: 0n });
    expect(translateNested(off, { host }, memory, 0x7678n, read)).toMatchObject({
      address: system(7n) + 0x678n,
    });
    const paeGuest = pae({ cr3: 0x4000n, maxPhyAddr: 52 });
    entries64(memory, system(4n), 0x5000n | P, system(5n) + 0x30n, 0x6000n | P);
    entries64(memory, system(6n) + 0x28n, (1n << 47n) | P);
    const wide = { ...host, maxPhyAddr: 52 };
    // PML4E 256, through which the high half of the linear addresses would go.
    entries64(memory, 0x8800n, 0x9000n | P | W | U, 0xb000n, system(9n) | P | W | U);
    expect(translateNested(paeGuest, { host: wide }, memory, linear, read)).toMatchObject({
      address: system(9n) + 0x678n,
    });
    entries64(memory, system(6n) + 0x28n, (1n << 48n) | P);
    expect(translateNested(paeGuest, { host: wide }, memory, linear, read)).toMatchObject({
      exitInfo1: [FINAL | 4n],
      exitInfo2: (1n << 48n) | 0x678n,
    });
  });

  it('a 64-bit guest under a PAE host, and its addresses that are not canonical', () => {
    const { memory, host } = build('PAE');
    const guest64 = fourLevel({ cr3: 0x3000n, efer: EFER.LME | EFER.LMA });
    entries64(memory, system(3n), 0x4000n | P, system(4n), 0x5000n | P, system(5n) + 0x30n, 0x6000n | P);
    entries64(memory, system(6n) + 0x28n, 0x7000n | P);
    expect(translateNested(guest64, { host }, memory, linear, read)).toMatchObject({
      address: system(7n) + 0x678n,
    });
    expect(translateNested(guest64, { host }, memory, 1n << 63n, read)).toMatchObject({ vector: 13 });
  });
});
