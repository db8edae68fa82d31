/** Runs vectors through a processor and reports, compactly, where it differs. */
import { describeVector, disassemble, hex, slotText } from './describe.ts';
import {
  baseByte,
  type Vector,
  type VectorEnvironment,
  type VectorFamily,
  type VectorFault,
} from './format.ts';
import { type SlotName, slotTable, VectorState } from './state.ts';
import { withinTolerance } from './tolerance.ts';

/** What a processor must offer to be tested. Addresses are linear ones of the vectors' environment. */
export interface VectorDriver {
  /**
   * Builds the world: CPL 3, the pages with their rights, GDT and LDT, an IDT for all 256 vectors in which only
   * `userGates` have DPL 3, a TSS whose I/O map lets no port through. Called once per family, before all else.
   */
  open(environment: VectorEnvironment): void;
  /** Writes bytes into mapped pages, whatever their rights are for the program; code may change too. */
  writeMemory(linear: number, bytes: Uint8Array): void;
  /** The 4096 bytes of the page that holds `linear`, live or as a copy. */
  readPage(linear: number): Uint8Array;
  /**
   * Loads every slot; segment registers are loaded from their descriptors, FCS and FDS become 0. No instruction runs.
   */
  setState(state: VectorState): void;
  /**
   * Runs that many instructions (a repeated string instruction, in all its iterations, is one), or up to the first
   * exception. Returns the exception, or null if all completed. Instructions after them must not run.
   */
  run(steps: number): VectorFault | null;
  /**
   * The state now; after an exception, as its frame shows it: EIP of the faulting or, for traps, of the next
   * instruction, and ESP, SS, CS and EFLAGS of the interrupted program.
   */
  readState(into: VectorState): void;
}

export interface RunOptions {
  /** Features of the processor; forms that need another are skipped. All forms run if absent. */
  readonly features?: ReadonlySet<string>;
  /** Only forms whose name matches. */
  readonly forms?: RegExp;
  /** Leave out what the manuals leave undefined (flags, status bits, results). Default: it must match too. */
  readonly ignoreUndefined?: boolean;
  /** Error allowed in approximate x87 results, in units of the last place. Default 1. */
  readonly ulps?: number;
  /** Mismatches to describe in full, per form. Default 3. */
  readonly details?: number;
}

export interface Mismatch {
  readonly vector: Vector;
  /** "eax 00000001, seen 00000002" and the like, one per difference. */
  readonly differences: readonly string[];
}

export interface FormReport {
  readonly form: string;
  run: number;
  failed: number;
}

export interface FamilyReport {
  readonly family: string;
  run: number;
  failed: number;
  /** Vectors left out because of `features` or `forms`. */
  skipped: number;
  /** Forms with at least one mismatch. */
  readonly failedForms: FormReport[];
  /** The first `details` of each form. */
  readonly mismatches: Mismatch[];
}

const PAGE = 4096;
const EFLAGS_RF = 0x10000;
const FSW_ES = 0x80;
/** Where an instruction's result can lie. After a fault, ESP must be as it was. */
const RESULT_SLOT = /^(e[abcd]x|e[sb]p|e[sd]i|r\d|xmm\d)$/;

/** The pages as they must be: base pattern, then what each vector writes, then undone. */
class ExpectedMemory {
  readonly pages = new Map<number, Uint8Array>();

  constructor(environment: VectorEnvironment) {
    for (const { address, size } of environment.pages) {
      for (let page = address; page < address + size; page += PAGE) {
        this.pages.set(
          page,
          Uint8Array.from({ length: PAGE }, (_, offset) => baseByte(page + offset)),
        );
      }
    }
  }

  write(linear: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const page = (linear + at) & ~(PAGE - 1);
      const start = linear + at - page;
      const count = Math.min(bytes.length - at, PAGE - start);
      this.pages.get(page)?.set(bytes.subarray(at, at + count), start);
      at += count;
    }
  }
}

const baseBytes = (linear: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, offset) => baseByte(linear + offset));

/** Linear address of the code: the base of CS comes from its descriptor. */
function codeAddress(environment: VectorEnvironment, state: VectorState): number {
  const selector = state.get('cs') & ~3;
  const descriptor = [...environment.ldt, ...environment.gdt].find((entry) => entry.selector === selector);
  if (!descriptor) throw new Error(`Vector runs in code segment ${selector}, which its environment lacks.`);
  const base = (descriptor.low >>> 16) | ((descriptor.high & 0xff) << 16) | (descriptor.high & 0xff000000);
  return (base + state.get('eip')) >>> 0;
}

interface Tolerances {
  readonly ignoreUndefined: boolean;
  readonly ulps: number;
}

/** Bits of a slot that count, for slots that are compared as numbers. */
function comparedBits(name: SlotName, vector: Vector, ignoreUndefined: boolean): number {
  if (name === 'eflags') return ~(EFLAGS_RF | (ignoreUndefined ? vector.undefinedFlags : 0));
  // Which way a transcendental function rounded is open however strict the comparison is.
  if (name === 'fsw' && (ignoreUndefined || vector.form.approximate)) return ~vector.undefinedStatus;
  return -1;
}

function sameBytes(state: VectorState, other: VectorState, offset: number, width: number): boolean {
  for (let at = offset; at < offset + width; at++) {
    if (state.bytes[at] !== other.bytes[at]) return false;
  }
  return true;
}

/** Slots of the state in which `seen` is not what the vector says. */
function compareState(vector: Vector, seen: VectorState, tolerances: Tolerances): string[] {
  const { after } = vector;
  const differences: string[] = [];
  // AMD's FXSAVE shows the last-instruction pointers only while an exception is pending (APM vol. 2 11.4.4).
  const pointersCount = (after.get('fsw') & FSW_ES) !== 0;
  const resultIsOpen = isOpen(vector, tolerances);
  for (const { name, offset, width } of slotTable) {
    if (sameBytes(after, seen, offset, width)) continue;
    if (!pointersCount && (name === 'fop' || name === 'fip' || name === 'fdp')) continue;
    if (resultIsOpen && RESULT_SLOT.test(name) && !(vector.fault && name === 'esp')) continue;
    if (name === 'eflags' || name === 'fsw') {
      const bits = comparedBits(name, vector, tolerances.ignoreUndefined);
      if (((after.get(name) ^ seen.get(name)) & bits) === 0) continue;
    }
    if (vector.form.approximate && withinTolerance(name, after.raw(name), seen.raw(name), tolerances.ulps))
      continue;
    differences.push(`${name} ${slotText(after.raw(name))}, seen ${slotText(seen.raw(name))}`);
  }
  return differences;
}

/**
 * Whether the result is anybody's: an approximate function outside its range has no value that another processor could
 * come near, and of several accesses in no promised order any may be the one that faults.
 */
function isOpen(vector: Vector, tolerances: Tolerances): boolean {
  const { undefinedResult, fault, form } = vector;
  return undefinedResult && (tolerances.ignoreUndefined || form.approximate === true || fault !== null);
}

function compareFault(expected: VectorFault | null, seen: VectorFault | null, anyCr2: boolean): string[] {
  const text = (fault: VectorFault | null): string =>
    fault === null
      ? 'no exception'
      : `#${fault.vector}(${fault.errorCode.toString(16)}) cr2 ${fault.cr2.toString(16)}`;
  const same =
    expected?.vector === seen?.vector &&
    expected?.errorCode === seen?.errorCode &&
    (anyCr2 || (expected?.cr2 ?? 0) === (seen?.cr2 ?? 0));
  return same ? [] : [`${text(expected)}, seen ${text(seen)}`];
}

class FamilyRun {
  readonly #driver: VectorDriver;
  readonly #environment: VectorEnvironment;
  readonly #expected: ExpectedMemory;
  readonly #tolerances: Tolerances;
  readonly #seen = new VectorState();

  constructor(driver: VectorDriver, environment: VectorEnvironment, tolerances: Tolerances) {
    this.#driver = driver;
    this.#environment = environment;
    this.#expected = new ExpectedMemory(environment);
    this.#tolerances = tolerances;
    driver.open(environment);
    for (const [page, bytes] of this.#expected.pages) driver.writeMemory(page, bytes);
  }

  /** Runs one vector and leaves memory as it was before. Empty if it agrees. */
  run(vector: Vector): string[] {
    const driver = this.#driver;
    const codeAt = codeAddress(this.#environment, vector.before);
    this.#write(codeAt, vector.code);
    for (const { address, bytes } of vector.memoryBefore) this.#write(address, bytes);
    driver.setState(vector.before);
    const fault = driver.run(vector.steps);
    driver.readState(this.#seen);
    for (const { address, bytes } of vector.memoryAfter) this.#expected.write(address, bytes);
    for (const { address, length } of vector.looseMemory) this.#accept(address, length);
    const differences = [
      ...compareFault(vector.fault, fault, vector.undefinedResult),
      ...compareState(vector, this.#seen, this.#tolerances),
      ...this.#compareMemory(vector),
    ];
    this.#restore(vector, codeAt);
    return differences;
  }

  #write(linear: number, bytes: Uint8Array): void {
    this.#driver.writeMemory(linear, bytes);
    this.#expected.write(linear, bytes);
  }

  /** Takes what the processor wrote for what was expected. */
  #accept(linear: number, length: number): void {
    for (let at = linear; at < linear + length; at++) {
      const page = at & ~(PAGE - 1);
      if (this.#expected.pages.has(page)) {
        this.#expected.write(at, this.#driver.readPage(page).subarray(at - page, at - page + 1));
      }
    }
  }

  #compareMemory(vector: Vector): string[] {
    const differences: string[] = [];
    for (const [page, expected] of this.#expected.pages) {
      const seen = this.#driver.readPage(page);
      if (Buffer.compare(seen, expected) === 0) continue;
      const first = expected.findIndex((byte, offset) => byte !== seen[offset]);
      const open = isOpen(vector, this.#tolerances);
      const text = `[${(page + first).toString(16)}] ${hex(expected.subarray(first, first + 10))}`;
      if (!open) differences.push(`${text}, seen ${hex(seen.subarray(first, first + 10))}`);
      this.#driver.writeMemory(page, expected);
    }
    return differences;
  }

  #restore(vector: Vector, codeAt: number): void {
    this.#write(codeAt, baseBytes(codeAt, vector.code.length));
    for (const { address, bytes } of vector.memoryBefore)
      this.#write(address, baseBytes(address, bytes.length));
    for (const { address, bytes } of vector.memoryAfter)
      this.#write(address, baseBytes(address, bytes.length));
    for (const { address, length } of vector.looseMemory) this.#write(address, baseBytes(address, length));
  }
}

/** Runs a family through a driver. An exception that the driver throws ends the run and names the vector. */
export function runFamily(
  family: VectorFamily,
  driver: VectorDriver,
  options: RunOptions = {},
): FamilyReport {
  const { features, forms, ignoreUndefined = false, ulps = 1, details = 3 } = options;
  const run = new FamilyRun(driver, family.header.environment, { ignoreUndefined, ulps });
  const report: FamilyReport = {
    family: family.header.family,
    run: 0,
    failed: 0,
    skipped: 0,
    failedForms: [],
    mismatches: [],
  };
  let current: FormReport = { form: '', run: 0, failed: 0 };
  for (const vector of family.vectors()) {
    const { name, feature } = vector.form;
    if ((features && feature && !features.has(feature)) || (forms && !forms.test(name))) {
      report.skipped++;
      continue;
    }
    if (current.form !== name) current = { form: name, run: 0, failed: 0 };
    const differences = runOne(run, vector);
    current.run++;
    report.run++;
    if (differences.length === 0) continue;
    if (current.failed === 0) report.failedForms.push(current);
    if (current.failed < details) report.mismatches.push({ vector, differences });
    current.failed++;
    report.failed++;
  }
  return report;
}

function runOne(run: FamilyRun, vector: Vector): string[] {
  try {
    return run.run(vector);
  } catch (error) {
    const where = `${vector.family} / ${vector.form.name} #${vector.index} (${disassemble(vector)})`;
    throw new Error(`The driver failed at ${where}.`, { cause: error });
  }
}

/** A report as text: one line per failed form, then the described mismatches. */
export function describeReport(report: FamilyReport, baseline: VectorState): string {
  const lines = [`${report.family}: ${report.run} run, ${report.failed} failed, ${report.skipped} skipped`];
  for (const { form, run, failed } of report.failedForms) lines.push(`  ${form}: ${failed} of ${run}`);
  for (const { vector, differences } of report.mismatches) {
    lines.push(describeVector(vector, baseline), ...differences.map((text) => `  DIFFERS: ${text}`));
  }
  return lines.join('\n');
}
