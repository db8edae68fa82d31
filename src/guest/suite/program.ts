import { AGENT_TABLES, agentPageTables } from '../agent-paging.ts';
import { agents, MULTIBOOT_HEADER } from '../agents.ts';
import { Assembler, address } from '../assembler.ts';
import { elfImage } from '../elf.ts';
import { emitPrinting } from '../printing.ts';
import { emitDetect } from './detect.ts';
import { emitJudge } from './judge.ts';
import { emitLoadPieces, emitUnpack } from './load.ts';
import { emitOptions } from './options.ts';
import { emitReport } from './report.ts';
import { emitRunner } from './runner.ts';
import { emitShortGuestVmcb } from './short-guest.ts';
import { emitTexts } from './texts.ts';

/** A scenario of an exported image. */
export interface SuiteScenario {
  readonly name: string;
  /** Bits by SUITE_FEATURES. */
  readonly needs: number;
  readonly lacks: number;
  /** ASIDs that the processor must have, 0 included. */
  readonly asids: number;
  /** MAXPHYADDR that it may have at most. */
  readonly maxBits: number;
  /** The block (see format.ts) in the LZ4 block format, and its size before it was packed. */
  readonly packed: Uint8Array;
  readonly unpackedSize: number;
  /** What it needs and no machine has that runs the image: it is skipped always. */
  readonly impossible?: string;
}

const STACK_SIZE = 0x1000;
const PAGE = 0x1000;

/**
 * An image that runs scenarios one after another, judges them and prints TAP on COM1: multiboot 1, as ELF.
 * @param origin where it lies in physical memory, beyond what scenarios use; a multiple of 4 MiB
 */
export function suiteImage(origin: number, scenarios: readonly SuiteScenario[]): Uint8Array<ArrayBuffer> {
  const a = new Assembler(origin);
  const program = agents();
  a.data32(...MULTIBOOT_HEADER);
  emitRunner(a, program);
  emitOptions(a);
  emitDetect(a);
  emitUnpack(a);
  emitLoadPieces(a);
  emitJudge(a);
  emitReport(a);
  emitPrinting(a);
  emitCopies(a, { 'agents-image': program.bytes, 'agents-tables': agentPageTables() });
  a.align(16);
  a.zero(STACK_SIZE);
  a.label('suite-stack-top');
  a.align(PAGE);
  emitShortGuestVmcb(a, program);
  emitFlushTables(a, origin);
  emitScenarios(a, scenarios);
  a.align(16);
  // From here on there is memory but nothing in the file.
  a.label('unpacked');
  const reserved = Math.max(0, ...scenarios.map(({ unpackedSize }) => unpackedSize));
  const { bytes, labels } = a.finish();
  return elfImage(labels.get('suite-entry')!, [{ address: origin, bytes, reserved }]);
}

/** P, W, A, D. */
const ENTRY = 0x63;
const TABLE_ENTRIES = 1024;

/** A 2-level address space with the agents' part and the first 4 MiB of the image. */
function emitFlushTables(a: Assembler, origin: number): void {
  if (a.here > origin + TABLE_ENTRIES * PAGE) throw new Error('The runner is too large for one page table.');
  a.label('flush-table');
  const table = a.here;
  for (let index = 0; index < TABLE_ENTRIES; index++) a.data32((origin + index * PAGE) | ENTRY);
  a.label('flush-directory');
  const directory = new Array<number>(TABLE_ENTRIES).fill(0);
  AGENT_TABLES.twoLevelEntries.forEach((entry, index) => {
    directory[index] = entry;
  });
  directory[origin / (TABLE_ENTRIES * PAGE)] = table | ENTRY;
  a.data32(...directory);
}

/** Bytes that are copied as they are, a multiple of 4 of them, and the number of dwords. */
function emitCopies(a: Assembler, copies: Readonly<Record<string, Uint8Array>>): void {
  for (const [label, bytes] of Object.entries(copies)) {
    a.align(4);
    a.label(`${label}-words`);
    a.data32(bytes.length / 4);
    a.label(label);
    a.append(bytes);
  }
}

function emitScenarios(a: Assembler, scenarios: readonly SuiteScenario[]): void {
  a.label('suite-count');
  a.data32(scenarios.length);
  a.label('catalogue');
  scenarios.forEach(({ needs, lacks, asids, maxBits, impossible }, index) => {
    const at = (what: string) => address(`scenario-${index}-${what}`);
    a.data32(at('name'), needs, lacks, asids, maxBits, at('packed'), at('packed-end'));
    a.data32(impossible === undefined ? 0 : address(`text:impossible-${index}`));
  });
  a.label('catalogue-end');
  scenarios.forEach(({ name, packed, impossible }, index) => {
    a.label(`scenario-${index}-name`);
    a.text(name);
    a.data8(0);
    if (impossible !== undefined) emitTexts(a, { [`impossible-${index}`]: ` ${impossible}` });
    a.label(`scenario-${index}-packed`);
    a.append(packed);
    a.label(`scenario-${index}-packed-end`);
  });
}
