import { describe, expect, it } from 'vitest';
import { buffer, device, eisaId, integer, name, packageOf, scope } from '../../../src/machine/acpi/aml.ts';
import { ioPorts, isaIrq, memoryWindow, resourceTemplate } from '../../../src/machine/acpi/resources.ts';

const hex = (bytes: readonly number[]) => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');

describe('AML', () => {
  // Bytes worked out by hand from the grammar (ACPI specification 6.4, 20.2).
  // biome-ignore format: table
  const cases: readonly [string, readonly number[], string][] = [
    ['Zero',                      integer(0),                        '00'],
    ['One',                       integer(1),                        '01'],
    ['byte',                      integer(0xff),                     '0a ff'],
    ['word',                      integer(0x100),                    '0b 00 01'],
    ['dword',                     integer(0xfee0_0000),              '0c 00 00 e0 fe'],
    ['qword',                     integer(0x1_0000_0002),            '0e 02 00 00 00 01 00 00 00'],
    ['EisaId of a PCI bus',       eisaId('PNP0A03'),                 '0c 41 d0 0a 03'],
    ['EisaId of a 16550A',        eisaId('PNP0501'),                 '0c 41 d0 05 01'],
    ['Name, padded',              name('_S5', integer(5)),           '08 5f 53 35 5f 0a 05'],
    ['Name from the root',        name('\\_S5', integer(1)),         '08 5c 5f 53 35 5f 01'],
    ['Name of two segments',      name('_SB.PCI0', integer(0)),      '08 2e 5f 53 42 5f 50 43 49 30 00'],
    ['Name of three segments',    name('\\A.B.C', integer(0)),       '08 5c 2f 03 41 5f 5f 5f 42 5f 5f 5f 43 5f 5f 5f 00'],
    ['Package',                   packageOf(integer(1), integer(2)), '12 05 02 01 0a 02'],
    ['Buffer',                    buffer([0xaa]),                    '11 03 01 aa'],
    ['Scope',                     scope('\\_SB'),                    '10 06 5c 5f 53 42 5f'],
    ['Device',                    device('PCI0'),                    '5b 82 05 50 43 49 30'],
    ['IO',                        resourceTemplate(ioPorts(0x3f8, 8)), '11 0d 0a 0a 47 01 f8 03 f8 03 01 08 79 00'],
    ['IRQNoFlags',                resourceTemplate(isaIrq(4)),       '11 08 0a 05 22 10 00 79 00'],
  ];
  it.each(cases)('%s', (_, bytes, expected) => {
    expect(hex(bytes)).toBe(expected);
  });

  it('counts packages in one to three bytes, themselves included', () => {
    // A buffer of n bytes holds its size as an integer, then the bytes.
    const head = (length: number, count: number) => hex(buffer(new Array(length).fill(0)).slice(0, count));
    expect(head(0x3c, 2)).toBe('11 3f');
    expect(head(0x3d, 3)).toBe('11 41 04');
    expect(head(0xff8, 3)).toBe('11 4d ff');
    expect(head(0xffb, 4)).toBe('11 81 00 01');
  });

  it('describes memory in a dword descriptor', () => {
    expect(hex(memoryWindow(0xa_0000, 0xb_ffff))).toBe(
      '87 17 00 00 0c 01 00 00 00 00 00 00 0a 00 ff ff 0b 00 00 00 00 00 00 00 02 00',
    );
  });

  it('refuses what is no name and no EISA ID', () => {
    expect(() => name('pci0', integer(0))).toThrow('pci0 in pci0 is not an ACPI name.');
    expect(() => name('TOOLONG', integer(0))).toThrow('is not an ACPI name');
    expect(() => eisaId('PNP03')).toThrow('PNP03 is not an EISA ID');
  });
});
