import { describe, expect, it } from 'vitest';
import { gpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { HOST_MEMORY } from '../../src/guest/agent-layout.ts';
import { HostedMachine } from '../../src/vmm/hosted-machine.ts';

const PAGE = 0x30_0000;
const CONTENTS = Uint8Array.from({ length: 4096 }, (_, index) => index % 251);

function machine() {
  const hosted = new HostedMachine({ model: parseCpuModel('current-amd'), memoryBytes: 0x40_0000 });
  hosted.write(gpa(PAGE), CONTENTS);
  const hostOf = (address: number): number => hosted.vm.slots.hostAddress(address);
  const ask = (word: number): void => hosted.devices.io.write(HOST_MEMORY.PORT, 4, word);
  return { hosted, hostOf, ask };
}

describe('the host memory port', () => {
  it('moves a page to other host memory and leaves the old one spoilt', () => {
    const { hosted, hostOf, ask } = machine();
    const before = hostOf(PAGE);
    ask(PAGE | HOST_MEMORY.MOVE);
    const after = hostOf(PAGE);
    expect(after).not.toBe(before);
    expect(hosted.read(gpa(PAGE), 4096)).toEqual(CONTENTS);
    expect([...new Set(hosted.cpu.physical.u8.subarray(before, before + 4096))]).toEqual([0xdd]);
    // The neighbours stay, and the page that was left takes the next one that moves.
    expect(hostOf(PAGE + 0x1000)).toBe(before + 0x1000);
    ask((PAGE + 0x1000) | HOST_MEMORY.MOVE);
    expect(hostOf(PAGE + 0x1000)).toBe(before);
  });

  it('takes a page away and gives it back with its contents, wherever it was', () => {
    const { hosted, hostOf, ask } = machine();
    ask(PAGE | HOST_MEMORY.MOVE);
    const moved = hostOf(PAGE);
    ask((PAGE - 0x1000) | HOST_MEMORY.MOVE);
    const neighbour = hostOf(PAGE - 0x1000);
    ask(PAGE | HOST_MEMORY.REMOVE);
    expect(hostOf(PAGE)).toBe(-1);
    expect(hostOf(PAGE - 0x1000)).toBe(neighbour);
    expect([...new Set(hosted.read(gpa(PAGE), 4096))]).toEqual([0xff]);
    hosted.write(gpa(PAGE), new Uint8Array(4096));
    ask(PAGE | HOST_MEMORY.RETURN);
    expect(hostOf(PAGE)).toBe(moved);
    expect(hosted.read(gpa(PAGE), 4096)).toEqual(CONTENTS);
  });

  it('does nothing for pages that are not the guest’s, for other widths and for unknown actions', () => {
    const { hosted, hostOf, ask } = machine();
    const before = hostOf(PAGE);
    ask(0xf000_0000 + HOST_MEMORY.MOVE);
    ask(0xf000_0000 + HOST_MEMORY.REMOVE);
    ask(0xf000_0000 + HOST_MEMORY.RETURN);
    ask(PAGE | HOST_MEMORY.RETURN);
    ask(PAGE | 9);
    hosted.devices.io.write(HOST_MEMORY.PORT, 2, HOST_MEMORY.MOVE);
    expect(hostOf(PAGE)).toBe(before);
    expect(hostOf(0)).toBe(before - PAGE);
    expect(hosted.devices.io.read(HOST_MEMORY.PORT, 4)).toBe(0b1110);
  });
});
