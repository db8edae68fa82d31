import { EFLAGS } from '../../arch/registers.ts';
import { type Bits, RAX, RCX, RDI, RSI } from '../../isa/builder.ts';
import type { Form } from '../../isa/form.ts';
import { Int } from '../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference, Label, Local } from '../../wasm/function.ts';
import type { ModuleBuilder } from '../../wasm/module.ts';
import { EFLAGS_REST, RECORD, RECORD_FLAG, RECORD_SIZE } from '../layout.ts';
import { copyBytes, fillBytes, least } from './blocks.ts';
import { type Dispatch, field8, HANDLER, loadState } from './dispatch.ts';
import { FlagWords } from './flags.ts';
import type { HandlerTable } from './handlers.ts';
import { MemoryAccess } from './memory.ts';
import { fixedRegister } from './operands.ts';

/**
 * String instructions without leaving WebAssembly, where nothing needs a closer look: flat segments, 32-bit
 * addresses, upwards, pages that the fast TLB knows. Everything else goes to the operation in TypeScript
 * (`system/strings.ts`), which can take over between any two pages and gives the same result.
 */

const PAGE = 4096;
/** As many bytes as TypeScript would handle in one go: an instruction counts as one either way. */
const MOST_BYTES = 0x1_0000;
/** Elements to compare in a loop; longer searches are faster in TypeScript. */
const MOST_COMPARED = 64;

/** What the handlers of the string instructions have in common. */
class StringHandler {
  readonly code: FunctionBuilder;
  readonly size: 1 | 2 | 4;
  readonly shift: number;
  readonly flags: FlagWords;
  readonly repeated: Int;
  readonly #dispatch: Dispatch;
  readonly #external: FunctionReference;
  readonly #memory: MemoryAccess;
  readonly #record: Int;

  constructor(code: FunctionBuilder, dispatch: Dispatch, external: FunctionReference, size: 1 | 2 | 4) {
    this.code = code;
    this.size = size;
    this.shift = size >> 1;
    this.flags = new FlagWords(code);
    this.#dispatch = dispatch;
    this.#external = external;
    this.#record = code.parameter(0);
    this.#memory = new MemoryAccess(code, dispatch, this.#record);
    this.fallBackIf(loadState(EFLAGS_REST).and(EFLAGS.DF | EFLAGS.TF));
    this.repeated = code.let(field8(this.#record, RECORD.FLAGS).and(RECORD_FLAG.REP | RECORD_FLAG.REPNE));
  }

  get bits(): Bits {
    return (this.size * 8) as Bits;
  }

  /** True for REPE. */
  get isRepe(): Int {
    return this.repeated.eq(RECORD_FLAG.REP);
  }

  fallBackIf(condition: Int): void {
    this.code.if(condition, () => this.code.returnCall(this.#external, this.#record));
  }

  next(): void {
    this.#dispatch.goto(this.code, this.#record.add(RECORD_SIZE));
  }

  /** How often to do it: ECX, or once without a prefix; ends the instruction if that is never. */
  count(): Local {
    const count = this.code.local('i32');
    this.code.set(count, this.#general(RCX).read().select(1, this.repeated));
    this.code.if(this.code.get(count).eqz(), () => this.next());
    return count;
  }

  index(register: number): Int {
    return this.code.let(this.#general(register).read());
  }

  setRegister(register: number, value: Int): void {
    this.#general(register).write(value);
  }

  /** Takes `done` off the count, and off ECX if that is where it came from. */
  countDown(count: Local, done: Int): void {
    this.code.set(count, this.code.get(count).sub(done));
    this.code.if(this.repeated, () => this.setRegister(RCX, this.code.get(count)));
  }

  /** AL, AX or EAX. */
  accumulator(): Int {
    return this.code.let(fixedRegister(this.code, RAX, this.bits).read());
  }

  setAccumulator(value: Int): void {
    fixedRegister(this.code, RAX, this.bits).write(value);
  }

  /** Bytes from here to the end of the page. */
  room(index: Int): Int {
    return Int.const32(PAGE).sub(index.and(PAGE - 1));
  }

  /** Host address of a place in memory, good to the end of its page. */
  host(index: Int, write: boolean): Int {
    return this.#memory.pageHost(index, write, () => this.code.returnCall(this.#external, this.#record));
  }

  /** Repeats `body` while the count is not used up, then goes on. */
  whileCounting(count: Local, body: () => void): void {
    this.code.loop((again) => {
      body();
      this.code.branch(again, this.code.get(count));
    });
    this.next();
  }

  #general(register: number): ReturnType<typeof fixedRegister> {
    return fixedRegister(this.code, register, 32);
  }
}

/** Bytes to do at once: what is left, up to the end of a page, in whole elements; leaves if that is nothing. */
function chunk(h: StringHandler, count: Local, room: Int): Int {
  const wanted = h.code.let(h.code.get(count).shl(h.shift));
  const bytes = h.code.let(least(h.code, wanted, room).and(-h.size));
  h.fallBackIf(bytes.eqz());
  return bytes;
}

function moveString(h: StringHandler): void {
  const count = h.count();
  h.fallBackIf(h.code.get(count).gtU(MOST_BYTES >> h.shift));
  h.whileCounting(count, () => {
    const source = h.index(RSI);
    const destination = h.index(RDI);
    const bytes = chunk(h, count, least(h.code, h.room(source), h.room(destination)));
    const from = h.host(source, false);
    const to = h.host(destination, true);
    // A destination that begins within the source sees what was just written.
    h.fallBackIf(to.sub(from).sub(1).ltU(bytes.sub(1)));
    copyBytes(h.code, to, from, bytes, h.size);
    h.setRegister(RSI, source.add(bytes));
    h.setRegister(RDI, destination.add(bytes));
    h.countDown(count, bytes.shrU(h.shift));
  });
}

function storeString(h: StringHandler): void {
  const count = h.count();
  h.fallBackIf(h.code.get(count).gtU(MOST_BYTES >> h.shift));
  const value = h.accumulator();
  h.whileCounting(count, () => {
    const destination = h.index(RDI);
    const bytes = chunk(h, count, h.room(destination));
    fillBytes(h.code, h.host(destination, true), bytes, value, h.size);
    h.setRegister(RDI, destination.add(bytes));
    h.countDown(count, bytes.shrU(h.shift));
  });
}

/** With a prefix it is of little use, and of little use to be fast. */
function loadString(h: StringHandler): void {
  h.fallBackIf(h.repeated);
  const source = h.index(RSI);
  h.fallBackIf(h.room(source).ltU(h.size));
  h.setAccumulator(Int.load('i32', h.bits, h.host(source, false)));
  h.setRegister(RSI, source.add(h.size));
  h.next();
}

/**
 * Compares pairs until REPE or REPNE is satisfied or the count used up, then calls `done` with the number of pairs
 * and the last one; leaves if that does not happen soon enough.
 */
function comparePairs(
  h: StringHandler,
  count: Local,
  room: Int,
  pair: (place: Int) => readonly [left: Int, right: Int],
  done: (compared: Int) => void,
): void {
  const { code } = h;
  const limit = code.let(
    least(code, least(code, code.get(count), room.shrU(h.shift)), Int.const32(MOST_COMPARED)),
  );
  h.fallBackIf(limit.eqz());
  const compared = code.local('i32');
  const left = code.local('i32');
  const right = code.local('i32');
  const goesOn = code.local('i32');
  code.set(compared, Int.const32(0));
  code.loop((again: Label) => {
    const [x, y] = pair(code.let(code.get(compared).shl(h.shift)));
    code.set(left, x);
    code.set(right, y);
    code.set(compared, code.get(compared).add(1));
    code.set(goesOn, code.get(left).eq(code.get(right)).eq(h.isRepe));
    code.branch(again, code.get(goesOn).and(code.get(compared).ltU(limit)));
  });
  h.fallBackIf(code.get(goesOn).and(code.get(compared).ne(code.get(count))));
  done(code.get(compared));
  const [x, y] = [code.get(left), code.get(right)];
  h.flags.sub(h.bits, x, y, code.let(x.sub(y)));
  h.countDown(count, code.get(compared));
  h.next();
}

function scanString(h: StringHandler): void {
  const count = h.count();
  const destination = h.index(RDI);
  const place = h.host(destination, false);
  const value = h.accumulator();
  comparePairs(
    h,
    count,
    h.room(destination),
    (offset) => [value, Int.load('i32', h.bits, place.add(offset))],
    (compared) => h.setRegister(RDI, destination.add(compared.shl(h.shift))),
  );
}

function compareString(h: StringHandler): void {
  const count = h.count();
  const [source, destination] = [h.index(RSI), h.index(RDI)];
  const [left, right] = [h.host(source, false), h.host(destination, false)];
  comparePairs(
    h,
    count,
    least(h.code, h.room(source), h.room(destination)),
    (offset) => [Int.load('i32', h.bits, left.add(offset)), Int.load('i32', h.bits, right.add(offset))],
    (compared) => {
      h.setRegister(RSI, source.add(compared.shl(h.shift)));
      h.setRegister(RDI, destination.add(compared.shl(h.shift)));
    },
  );
}

type Emit = (h: StringHandler) => void;

const EMITTERS: Readonly<Record<string, Emit>> = {
  moveString,
  storeString,
  loadString,
  scanString,
  compareString,
};
const BYTE = 'Byte';

/** Emits handlers for the flat variants of the string instructions; `external` calls the operation in TypeScript. */
export function emitStringHandlers(
  module: ModuleBuilder,
  dispatch: Dispatch,
  external: FunctionReference,
  forms: readonly Form[],
  table: HandlerTable,
): void {
  forms.forEach(({ semantics }, form) => {
    if (typeof semantics !== 'string') return;
    const isByte = semantics.endsWith(BYTE);
    const emit = EMITTERS[isByte ? semantics.slice(0, -BYTE.length) : semantics];
    if (emit === undefined) return;
    for (const operandBits of [16, 32] as const) {
      const size = isByte ? 1 : operandBits === 16 ? 2 : 4;
      const made = module.function(HANDLER, (code) =>
        emit(new StringHandler(code, dispatch, external, size)),
      );
      const key = { form, memory: false, operandBits, addressBits: 32, flat: true } as const;
      table.set(key, module.tableSlot(made));
    }
  });
}
