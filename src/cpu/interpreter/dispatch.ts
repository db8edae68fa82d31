import { Int } from '../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../wasm/function.ts';
import { type ModuleBuilder, signature } from '../../wasm/module.ts';
import {
  BUDGET,
  CODE_CONTEXT,
  EIP,
  EIP_BASE,
  FAULT,
  JUMP_CACHE,
  JUMP_CACHE_ENTRIES,
  JUMP_ENTRY,
  RECORD,
  RECORD_FLAG,
} from '../layout.ts';
import type { declareImports } from './imports.ts';

/** A handler runs one decoded instruction: it gets the record's address and leaves by a tail call. */
export const HANDLER = signature(['i32'], []);

const ABSOLUTE = Int.const32(0);
export const loadState = (slot: number): Int => Int.load('i32', 32, ABSOLUTE, slot);
export const storeState = (code: FunctionBuilder, slot: number, value: Int): void =>
  code.store(32, ABSOLUTE, value, slot);
export const field8 = (record: Int, offset: number): Int => Int.load('i32', 8, record, offset);
export const field16 = (record: Int, offset: number): Int => Int.load('i32', 16, record, offset);
export const field32 = (record: Int, offset: number): Int => Int.load('i32', 32, record, offset);

/**
 * How control gets from one instruction to the next. Within a block: to the next record. Between blocks: `enter`
 * pays for the whole block in advance, so that most instructions never look at the budget.
 */
export class Dispatch {
  readonly imports: ReturnType<typeof declareImports>;
  /** Goes on at EIP. */
  readonly lookup: FunctionReference;
  /** Goes on at EIP, past the jump cache. */
  readonly search: FunctionReference;
  /** Takes a relative branch whose target is not known yet, or lies in another page. */
  readonly branchSlow: FunctionReference;
  readonly #handlerType: number;
  readonly #shorten: FunctionReference;

  constructor(module: ModuleBuilder, imports: ReturnType<typeof declareImports>) {
    this.imports = imports;
    this.#handlerType = module.type(HANDLER);
    this.lookup = module.declare(signature([], []));
    this.search = module.declare(signature([], []));
    this.branchSlow = module.declare(HANDLER);
    this.#shorten = module.declare(HANDLER);
    module.define(this.lookup, (code) => this.#writeLookup(code));
    module.define(this.search, (code) => this.#writeSearch(code));
    module.define(this.branchSlow, (code) => this.#writeBranchSlow(code));
    module.define(this.#shorten, (code) => this.#writeShorten(code));
  }

  /** Runs the handler of a record. */
  goto(code: FunctionBuilder, record: Int): void {
    const target = code.let(record);
    code.returnCallIndirect(this.#handlerType, field16(target, RECORD.HANDLER), target);
  }

  /** Enters the block that starts at a record. */
  enter(code: FunctionBuilder, record: Int): void {
    const target = code.let(record);
    const left = code.let(loadState(BUDGET).sub(field8(target, RECORD.REMAINING)));
    storeState(code, BUDGET, left);
    code.if(left.ltS(0), () => code.returnCall(this.#shorten, target));
    this.goto(code, target);
  }

  /** Takes the relative branch of this record. */
  branch(code: FunctionBuilder, record: Int): void {
    const link = code.let(field32(record, RECORD.LINK));
    code.if(link.gtS(0), () => this.enter(code, link));
    code.returnCall(this.branchSlow, record);
  }

  #writeLookup(code: FunctionBuilder): void {
    storeState(code, FAULT, Int.const32(0));
    const eip = code.let(loadState(EIP));
    const slot = eip.xor(eip.shrU(12)).and(JUMP_CACHE_ENTRIES - 1);
    const entry = code.let(slot.shl(4).add(JUMP_CACHE));
    const hit = Int.load('i32', 32, entry, JUMP_ENTRY.EIP)
      .eq(eip)
      .and(Int.load('i32', 32, entry, JUMP_ENTRY.CONTEXT).eq(loadState(CODE_CONTEXT)));
    code.if(hit, () => {
      const record = code.let(Int.load('i32', 32, entry, JUMP_ENTRY.RECORD));
      storeState(code, EIP_BASE, eip.sub(field16(record, RECORD.OFFSET)));
      this.enter(code, record);
    });
    code.returnCall(this.search);
  }

  #writeSearch(code: FunctionBuilder): void {
    const found = code.callFor(this.imports.find);
    code.if(found.eqz(), () => code.return());
    this.enter(code, found);
  }

  #writeBranchSlow(code: FunctionBuilder): void {
    const record = code.parameter(0);
    const target = code.let(loadState(EIP_BASE).add(field32(record, RECORD.IMMEDIATE)));
    const short = field8(record, RECORD.FLAGS).and(RECORD_FLAG.OPERAND16);
    storeState(code, EIP, target.and(0xffff).select(target, short));
    code.if(field32(record, RECORD.LINK).eqz(), () => {
      const linked = code.callFor(this.imports.link, record);
      code.if(linked, () => this.enter(code, linked));
    });
    code.returnCall(this.lookup);
  }

  #writeShorten(code: FunctionBuilder): void {
    const cut = code.callFor(this.imports.shorten, code.parameter(0));
    code.if(cut.eqz(), () => code.return());
    this.goto(code, cut);
  }
}
