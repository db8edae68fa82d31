import { describe, expect, it } from 'vitest';
import { CR0, CR4, EFER } from '../../src/oracle/bits.ts';
import type { OracleCpu } from '../../src/oracle/cpu.ts';
import { type Access, pageFaultErrorCode, rightsPermit } from '../../src/oracle/rights.ts';
import { translate } from '../../src/oracle/translate.ts';
import { entries64, NX, P, pae, ram, short, twoLevel, U, W } from './helpers.ts';

/** One row per permission that SDM vol. 3A 4.6.1 grants; what no row grants is forbidden. */
interface Case {
  readonly user: boolean; // user-mode access
  readonly kind: Access['kind'];
  readonly userAddress: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
  readonly wp: boolean;
  readonly smep: boolean;
  readonly smap: boolean;
  readonly acExplicit: boolean; // EFLAGS.AC = 1 and the access is explicit
}
const GRANTS: readonly ((c: Case) => boolean)[] = [
  // Supervisor-mode data reads: from any supervisor-mode address.
  (c) => !c.user && c.kind === 'read' && !c.userAddress,
  // ... from any user-mode address with SMAP = 0; with SMAP = 1 if EFLAGS.AC = 1 and the access is explicit.
  (c) => !c.user && c.kind === 'read' && c.userAddress && !c.smap,
  (c) => !c.user && c.kind === 'read' && c.userAddress && c.smap && c.acExplicit,
  // Supervisor-mode data writes: to a supervisor-mode address with WP = 0, or with write permission.
  (c) => !c.user && c.kind === 'write' && !c.userAddress && !c.wp,
  (c) => !c.user && c.kind === 'write' && !c.userAddress && c.wp && c.writable,
  // ... to a user-mode address: the same, and SMAP as for reads.
  (c) => !c.user && c.kind === 'write' && c.userAddress && !c.wp && !c.smap,
  (c) => !c.user && c.kind === 'write' && c.userAddress && !c.wp && c.smap && c.acExplicit,
  (c) => !c.user && c.kind === 'write' && c.userAddress && c.wp && c.writable && !c.smap,
  (c) => !c.user && c.kind === 'write' && c.userAddress && c.wp && c.writable && c.smap && c.acExplicit,
  // Supervisor-mode fetches: supervisor-mode address without XD; user-mode address without XD if SMEP = 0.
  (c) => !c.user && c.kind === 'fetch' && !c.userAddress && c.executable,
  (c) => !c.user && c.kind === 'fetch' && c.userAddress && c.executable && !c.smep,
  // User-mode accesses: only user-mode addresses.
  (c) => c.user && c.kind === 'read' && c.userAddress,
  (c) => c.user && c.kind === 'write' && c.userAddress && c.writable,
  (c) => c.user && c.kind === 'fetch' && c.userAddress && c.executable,
];

const both = [false, true];

describe('access rights (SDM vol. 3A 4.6.1), every combination', () => {
  it('permits exactly what the manual grants', () => {
    let cases = 0;
    for (const kind of ['read', 'write', 'fetch'] as const)
      for (const cpl of [0, 3] as const)
        for (const implicit of both)
          for (const userAddress of both)
            for (const writable of both)
              for (const executable of both)
                for (const wp of both)
                  for (const smep of both)
                    for (const smap of both)
                      for (const ac of both) {
                        const cpu: OracleCpu = pae({
                          cpl,
                          eflagsAc: ac,
                          cr0: CR0.PE | CR0.PG | (wp ? CR0.WP : 0n),
                          cr4: CR4.PAE | (smep ? CR4.SMEP : 0n) | (smap ? CR4.SMAP : 0n),
                        });
                        const rights = { writable, user: userAddress, executable };
                        const user = cpl === 3 && !implicit;
                        const c = { user, kind, userAddress, writable, executable, wp, smep, smap };
                        const granted = GRANTS.some((grant) => grant({ ...c, acExplicit: ac && !implicit }));
                        const permitted = rightsPermit(cpu, rights, { kind, implicit });
                        expect(permitted, JSON.stringify({ ...c, ac, implicit })).toBe(granted);
                        cases++;
                      }
    expect(cases).toBe(1536);
  });

  it('CPL 1 and 2 are supervisor', () => {
    const rights = { writable: true, user: false, executable: true };
    for (const cpl of [1, 2] as const)
      expect(rightsPermit(pae({ cpl }), rights, { kind: 'write' })).toBe(true);
  });

  it('a right counts only if every level grants it (APM vol. 2 tables 5-2 and 5-3)', () => {
    const linear = 0x00c0_5678n;
    const write = { kind: 'write' } as const;
    const table = (pde: bigint, pte: bigint) => {
      const memory = ram();
      entries64(memory, 0x2030n, 0x3000n | P | pde, 0x3028n, 0x7000n | P | pte);
      return memory;
    };
    for (const [pde, pte, code] of [
      [W | U, U, 7],
      [U, W | U, 7],
      [W, W | U, 7],
      [W | U, W, 7],
    ] as const) {
      expect(short(translate(pae({ cpl: 3 }), table(pde, pte), linear, write))).toBe(`#14(0x${code})`);
    }
    expect(short(translate(pae({ cpl: 3 }), table(W | U, W | U), linear, write))).toBe('0x7678');
    // Supervisor at the upper level makes it a supervisor page: SMEP and SMAP do not look at the PTE alone.
    const smap = pae({}, CR4.SMAP | CR4.SMEP);
    expect(short(translate(smap, table(W, W | U), linear, write))).toBe('0x7678');
    expect(short(translate(smap, table(W, W | U), linear, { kind: 'fetch' }))).toBe('0x7678');
    expect(short(translate(smap, table(W | U, W | U), linear, write))).toBe('#14(0x3)');
    expect(short(translate(smap, table(W | U, W | U), linear, { kind: 'fetch' }))).toBe('#14(0x11)');
    expect(short(translate(pae(), table(NX, W), linear, { kind: 'fetch' }))).toBe('#14(0x11)');
  });
});

describe('error codes (SDM vol. 3A 4.7, APM vol. 2 8.4.2)', () => {
  const none = { present: false, reserved: false, protectionKey: false };
  const code = (cpu: OracleCpu, access: Access, cause = none) => pageFaultErrorCode(cpu, access, cause);

  it('W/R and U/S tell the access, not the page', () => {
    expect(code(pae(), { kind: 'read' })).toBe(0);
    expect(code(pae(), { kind: 'write' })).toBe(2);
    expect(code(pae({ cpl: 3 }), { kind: 'read' })).toBe(4);
    expect(code(pae({ cpl: 3 }), { kind: 'write' }, { ...none, present: true })).toBe(7);
  });

  it('an implicit access at CPL 3 is a supervisor access', () => {
    expect(code(pae({ cpl: 3 }), { kind: 'read', implicit: true })).toBe(0);
  });

  it('RSVD comes with P', () => {
    expect(code(pae(), { kind: 'read' }, { present: true, reserved: true, protectionKey: false })).toBe(9);
  });

  it('I/D is set for fetches under SMEP, or under PAE with NXE, and else clear', () => {
    const fetch = { kind: 'fetch' } as const;
    expect(code(pae(), fetch)).toBe(0x10);
    expect(code(pae({ efer: 0n }), fetch)).toBe(0);
    expect(code(pae({ efer: 0n }, CR4.SMEP), fetch)).toBe(0x10);
    expect(code(twoLevel({ efer: EFER.NXE }), fetch)).toBe(0);
    expect(code(twoLevel({}, CR4.SMEP), fetch)).toBe(0x10);
    expect(code(pae(), { kind: 'read' })).toBe(0);
  });
});
