/** The ACPI tables of the machine, at the addresses where software looks for them (ACPI specification 6.4, 5.2). */
import { type Hpa, hpa } from '../../arch/address.ts';
import { definitionBlock } from './dsdt.ts';
import { ascii, type Bytes, checksum, u8, u32, u64, zeros } from './encode.ts';
import { FADT_REVISION, fadtBody } from './fadt.ts';
import { MADT_REVISION, madtBody } from './madt.ts';

/** Read-only memory below 1 MiB in which the RSDP is searched for, on 16-byte boundaries. */
const AREA_BASE = 0xe_0000;
const AREA_END = 0x10_0000;
/** The FACS demands this much; the others take it too. */
const ALIGNMENT = 64;

const OEM_ID = 'UMBRA';
const OEM_TABLE_ID = 'UMBRAPC';
const CREATOR_ID = 'UMBR';
const RSDP_LENGTH = 36;
const RSDP_FIRST_PART = 20;
const HEADER_LENGTH = 36;
const DSDT_REVISION = 2;
const FACS_LENGTH = 64;
const FACS_VERSION = 1;

export interface AcpiOptions {
  /** RAM from address 0 up; the PCI memory window lies above. */
  readonly memoryBytes: number;
  /** Whether there are a local APIC and an I/O APIC. True unless given. */
  readonly hasApic?: boolean | undefined;
  /** The processor's initial APIC ID; 0 unless given. */
  readonly apicId?: number | undefined;
}

export interface AcpiTable {
  readonly address: Hpa;
  readonly bytes: Uint8Array;
}

export interface AcpiTables {
  /** Address of the root pointer. */
  readonly rsdp: Hpa;
  /** Everything to put into memory, the RSDP among it; no two overlap. */
  readonly tables: readonly AcpiTable[];
}

const built = new Map<string, AcpiTables>();

/** The tables for the devices of `createPcDevices`; built once for each kind of machine. */
export function buildAcpi({ memoryBytes, hasApic = true, apicId = 0 }: AcpiOptions): AcpiTables {
  const key = [memoryBytes, hasApic, apicId].join();
  let tables = built.get(key);
  if (tables === undefined) built.set(key, (tables = build(memoryBytes, hasApic, apicId)));
  return tables;
}

function build(memoryBytes: number, hasApic: boolean, apicId: number): AcpiTables {
  const area = new Area();
  const rsdp = area.reserve(RSDP_LENGTH);
  const facs = area.put(facsBytes());
  const dsdt = area.put(table('DSDT', DSDT_REVISION, definitionBlock(memoryBytes).flat()));
  const listed = [area.put(table('FACP', FADT_REVISION, fadtBody(facs, dsdt)))];
  if (hasApic) listed.push(area.put(table('APIC', MADT_REVISION, madtBody(apicId))));
  const rsdt = area.put(table('RSDT', 1, listed.flatMap(u32)));
  const xsdt = area.put(table('XSDT', 1, listed.flatMap(u64)));
  area.fill(rsdp, rootPointer(rsdt, xsdt));
  return { rsdp, tables: area.tables };
}

/** Places tables one after the other. */
class Area {
  readonly tables: AcpiTable[] = [];
  #next = AREA_BASE;

  reserve(length: number): Hpa {
    const address = hpa(this.#next);
    this.#next += Math.ceil(length / ALIGNMENT) * ALIGNMENT;
    if (this.#next > AREA_END) throw new Error('The ACPI tables do not fit below 1 MiB.');
    return address;
  }

  fill(address: Hpa, bytes: Bytes): void {
    this.tables.push({ address, bytes: Uint8Array.from(bytes) });
  }

  put(bytes: Bytes): Hpa {
    const address = this.reserve(bytes.length);
    this.fill(address, bytes);
    return address;
  }
}

function rootPointer(rsdt: number, xsdt: number): Bytes {
  const signature = ascii('RSD PTR ');
  const fields = [...ascii(OEM_ID, 6), ...u8(2), ...u32(rsdt)];
  const first = [...signature, checksum([...signature, ...fields]), ...fields];
  if (first.length !== RSDP_FIRST_PART) throw new Error('The first part of an RSDP has 20 bytes.');
  const extended = [...u32(RSDP_LENGTH), ...u64(xsdt)];
  return [...first, ...extended, checksum([...first, ...extended]), ...zeros(3)];
}

/** A table with its header and a right checksum. */
function table(signature: string, revision: number, body: Bytes): Bytes {
  const before = [...ascii(signature), ...u32(HEADER_LENGTH + body.length), ...u8(revision)];
  const after = [
    ...ascii(OEM_ID, 6),
    ...ascii(OEM_TABLE_ID, 8),
    ...u32(1),
    ...ascii(CREATOR_ID),
    ...u32(1),
    ...body,
  ];
  return [...before, checksum([...before, ...after]), ...after];
}

/** Firmware ACPI control structure: global lock and waking vector, which the system writes. It has no checksum. */
const facsBytes = (): Bytes => [
  ...ascii('FACS'),
  ...u32(FACS_LENGTH),
  ...zeros(24),
  FACS_VERSION,
  ...zeros(31),
];
