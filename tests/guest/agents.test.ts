import { describe, expect, it } from 'vitest';
import { VMCB, VMCB_SAVE, VMCB_SEGMENT } from '../../src/arch/vmcb.ts';
import { AGENT_LAYOUT, AGENT_SELECTOR } from '../../src/guest/agent-layout.ts';
import {
  AGENT_NESTED_TABLES,
  AGENT_TABLES,
  type AgentTables,
  agentPageTables,
} from '../../src/guest/agent-paging.ts';
import { agents } from '../../src/guest/agents.ts';
import { elfImage } from '../../src/guest/elf.ts';
import { buildVmcb } from '../../src/guest/l2-agent.ts';
import { PROBE_FORMS, probeFormNumber, probeLabel } from '../../src/guest/probe-forms.ts';

const bytesAt = (address: number, count: number): number[] => {
  const { bytes, origin } = agents();
  return [...bytes.slice(address - origin, address - origin + count)];
};
const wordAt = (address: number): number =>
  new DataView(agents().bytes.buffer).getUint32(address - agents().origin, true);

describe('the agents', () => {
  it('begin with a multiboot header whose words sum to zero', () => {
    const words = [0, 4, 8].map((offset) => wordAt(AGENT_LAYOUT.IMAGE + offset));
    expect(words[0]).toBe(0x1badb002);
    expect((words[0] + words[1] + words[2]) >>> 0).toBe(0);
  });

  it('have the stubs of CPL 3, and nothing else, in the user page', () => {
    const { at, labels, origin, bytes } = agents();
    expect(origin + bytes.length).toBe(AGENT_LAYOUT.USER_STACK);
    const inUserPage = [...labels]
      .filter(([, address]) => address >= AGENT_LAYOUT.USER_CODE)
      .map(([name]) => name);
    expect(inUserPage.every((name) => name.startsWith('user-'))).toBe(true);
    expect(bytesAt(at('user-return'), 2)).toEqual([0xcd, 0x80]);
  });

  it('have a stub for each form of probe whose marked instruction is the access', () => {
    const { at } = agents();
    // mov ecx, [ebx]; jmp edx, and mov [ebx], ecx; jmp edx.
    expect(bytesAt(at(probeLabel('user', probeFormNumber('read4'))), 4)).toEqual([0x8b, 0x0b, 0xff, 0xe2]);
    expect(bytesAt(at(probeLabel('kernel', probeFormNumber('write4'))), 4)).toEqual([0x89, 0x0b, 0xff, 0xe2]);
    // Locked by itself: xchg [ebx], ecx.
    expect(bytesAt(at(probeLabel('kernel', probeFormNumber('rmw4'))), 2)).toEqual([0x87, 0x0b]);
    expect(new Set(PROBE_FORMS.map(({ name }) => name)).size).toBe(PROBE_FORMS.length);
  });

  it('have gates for exceptions at CPL 0 and one for interrupt 80h at CPL 3', () => {
    const { at } = agents();
    for (const who of ['l1', 'l2']) {
      const gate = (vector: number) => [
        wordAt(at(`${who}-idt`) + vector * 8),
        wordAt(at(`${who}-idt`) + vector * 8 + 4),
      ];
      const offset = ([low, high]: number[]) => ((low & 0xffff) | (high & 0xffff0000)) >>> 0;
      expect(offset(gate(14))).toBe(at(`${who}-vector-14`));
      expect(gate(14)[0] >>> 16).toBe(AGENT_SELECTOR.KERNEL_CODE);
      expect(gate(14)[1] & 0xffff).toBe(0x8e00);
      expect(offset(gate(0x80))).toBe(at(`${who}-probe-returned`));
      expect(gate(0x80)[1] & 0xffff).toBe(0xee00);
    }
  });

  it('push a zero for exceptions without an error code only', () => {
    const { at } = agents();
    expect(bytesAt(at('l1-vector-14'), 2)).toEqual([0x6a, 14]);
    expect(bytesAt(at('l1-vector-6'), 4)).toEqual([0x6a, 0, 0x6a, 6]);
  });
});

describe('the tables of the agents', () => {
  const tables = new DataView(agentPageTables().buffer);
  const entry = (address: number): number => tables.getUint32(address - AGENT_LAYOUT.TABLES, true);

  it('map the first 16 MiB to itself in both formats, supervisor but for two pages', () => {
    for (const page of [0, 0x100, 0x110, 0x111, 0x112, 0x3ff, 0x400, 0xfff]) {
      // P, W, A and D; U in the pages at 0x110000 and 0x111000.
      const flags = page === 0x110 || page === 0x111 ? 0x67 : 0x63;
      expectMapped(AGENT_TABLES, page, page * 4096 + flags);
    }
  });

  it('map it as user pages for nested paging, where all is a user access', () => {
    for (const page of [0, 0x110, 0x112, 0x3ff, 0x400, 0xfff]) {
      expectMapped(AGENT_NESTED_TABLES, page, page * 4096 + 0x67);
    }
  });

  it('lie before the script', () => {
    expect(AGENT_LAYOUT.TABLES + agentPageTables().length).toBeLessThanOrEqual(AGENT_LAYOUT.SCRIPT);
  });

  function expectMapped({ twoLevelEntries, paeEntries, pdpte }: AgentTables, page: number, value: number) {
    const twoLevel = (twoLevelEntries[page >> 10] & 0xfffff000) + (page & 0x3ff) * 4;
    const pae = (paeEntries[page >> 9] & 0xfffff000) + (page & 0x1ff) * 8;
    expect(entry(twoLevel)).toBe(value);
    expect(entry(pae)).toBe(value);
    expect(entry(pae + 4)).toBe(0);
    expect(twoLevelEntries).toHaveLength(4);
    expect(paeEntries).toHaveLength(8);
    expect(entry((pdpte & 0xfffff000) + (page >> 9) * 8)).toBe(paeEntries[page >> 9]);
  }
});

describe('buildVmcb', () => {
  const registers = {
    cr0: 0x8001_0000,
    cr3: 0x0030_0000,
    cr4: 0x20,
    efer: 0x800,
    asid: 3,
    interceptExceptions: 1 << 14,
  };
  const view = new DataView(buildVmcb(registers, agents().labels).buffer);

  it('has what VMRUN demands', () => {
    expect(view.getUint32(VMCB.INTERCEPT_MISC2, true) & 1).toBe(1);
    expect(view.getUint32(VMCB.GUEST_ASID, true)).toBe(3);
    expect(view.getUint32(VMCB_SAVE.EFER, true)).toBe(0x1800);
    expect(view.getUint32(VMCB_SAVE.CR0, true)).toBe(0x8001_0011);
    expect(view.getUint32(VMCB_SAVE.CR3, true)).toBe(0x0030_0000);
    expect(view.getUint32(VMCB.INTERCEPT_EXCEPTION, true)).toBe(0x4000);
  });

  it('starts the L2 agent at CPL 0 in a flat code segment', () => {
    expect(view.getUint32(VMCB_SAVE.RIP, true)).toBe(agents().at('l2-start'));
    expect(view.getUint8(VMCB_SAVE.CPL)).toBe(0);
    expect(view.getUint16(VMCB_SAVE.CS + VMCB_SEGMENT.ATTRIBUTES, true)).toBe(0xc9b);
    expect(view.getUint32(VMCB_SAVE.CS + VMCB_SEGMENT.LIMIT, true)).toBe(0xffff_ffff);
    expect(view.getUint16(VMCB_SAVE.TR + VMCB_SEGMENT.ATTRIBUTES, true)).toBe(0x8b);
  });
});

describe('elfImage', () => {
  it('describes each segment with a program header', () => {
    const segments = [
      { address: 0x100000, bytes: Uint8Array.of(1, 2, 3) },
      { address: 0x300000, bytes: Uint8Array.of(4, 5) },
    ];
    const image = elfImage(0x10000c, segments);
    const view = new DataView(image.buffer);
    expect([...image.slice(0, 7)]).toEqual([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
    expect(view.getUint32(24, true)).toBe(0x10000c);
    expect(view.getUint16(44, true)).toBe(2);
    segments.forEach(({ address, bytes }, index) => {
      const header = view.getUint32(28, true) + index * 32;
      const offset = view.getUint32(header + 4, true);
      expect(view.getUint32(header, true)).toBe(1);
      expect(view.getUint32(header + 12, true)).toBe(address);
      expect(view.getUint32(header + 16, true)).toBe(bytes.length);
      expect([...image.slice(offset, offset + bytes.length)]).toEqual([...bytes]);
    });
  });
});
