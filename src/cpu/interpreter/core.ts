import { emitSoftOperations } from '../../isa/simd/index.ts';
import { FORMS } from '../../isa/table.ts';
import { emitSoftFloat, exportSoftFloat } from '../../isa/x87/index.ts';
import { compile, instantiateModule, type WasmMemory, type WasmModule } from '../../wasm/engine.ts';
import type { FunctionReference } from '../../wasm/function.ts';
import { ModuleBuilder, signature } from '../../wasm/module.ts';
import { BUDGET, EIP, EIP_BASE, MXCSR, RECORD, SIMD_FLAGS, SIMD_RESULT } from '../layout.ts';
import { Dispatch, field8, field16, HANDLER, loadState, storeState } from './dispatch.ts';
import { emitHandlers, type HandlerTable } from './handlers.ts';
import { declareImports, type InterpreterImports } from './imports.ts';
import { emitStringHandlers } from './strings.ts';

/** Slots of the handlers that belong to no form. */
export interface SpecialSlots {
  /** Calls `external`. */
  readonly external: number;
  /** Ends a block that no branch ended: goes on with the next one. */
  readonly chain: number;
  /** Goes on at EIP. */
  readonly leave: number;
  /** A block that is no longer true to memory: looks its own address up again. */
  readonly stale: number;
}

/** The interpreter: a module made once from the instruction table, and instantiated for each processor. */
export interface InterpreterCore {
  readonly module: WasmModule;
  readonly handlers: HandlerTable;
  readonly special: SpecialSlots;
}

/** What an instance offers. */
export interface InterpreterExports {
  /** Runs from EIP until the slice is used up or `find` says stop. */
  run(): void;
  /** The x87's arithmetic, `x87.` and a name each. */
  readonly [name: `x87.${string}`]: unknown;
}

const MAXIMUM_PAGES = 65536;

/** Carries out the instruction in TypeScript. */
function emitExternal(module: ModuleBuilder, dispatch: Dispatch): FunctionReference {
  return module.function(HANDLER, (code) => {
    const next = code.callFor(dispatch.imports.external, code.parameter(0));
    code.if(next, () => dispatch.goto(code, next));
    code.returnCall(dispatch.lookup);
  });
}

function emitSpecial(module: ModuleBuilder, dispatch: Dispatch, external: FunctionReference): SpecialSlots {
  const add = (write: Parameters<ModuleBuilder['function']>[1]): number =>
    module.tableSlot(module.function(HANDLER, write));
  return {
    external: module.tableSlot(external),
    chain: add((code) => dispatch.branch(code, code.parameter(0))),
    leave: add((code) => code.returnCall(dispatch.lookup)),
    stale: add((code) => {
      const record = code.parameter(0);
      // The block was paid for on entry; looking it up pays again.
      storeState(code, BUDGET, loadState(BUDGET).add(field8(record, RECORD.REMAINING)));
      storeState(code, EIP, loadState(EIP_BASE).add(field16(record, RECORD.OFFSET)));
      // The jump cache may still lead here.
      code.returnCall(dispatch.search);
    }),
  };
}

let shared: InterpreterCore | undefined;

/** The interpreter's module; made on first use (some tens of milliseconds), then shared by all processors. */
export function interpreterCore(): InterpreterCore {
  shared ??= makeCore();
  return shared;
}

function makeCore(): InterpreterCore {
  const module = new ModuleBuilder();
  module.importMemory('cpu', 'memory', 1, MAXIMUM_PAGES);
  const imports = declareImports(module);
  const dispatch = new Dispatch(module, imports);
  const external = emitExternal(module, dispatch);
  const special = emitSpecial(module, dispatch, external);
  const places = { mxcsr: MXCSR, flags: SIMD_FLAGS, result: SIMD_RESULT };
  const soft = emitSoftOperations(module, places, imports.simdException);
  const handlers = emitHandlers(module, dispatch, soft, FORMS);
  emitStringHandlers(module, dispatch, external, FORMS, handlers);
  exportSoftFloat(module, emitSoftFloat(module));
  const run = module.function(signature([], []), (code) => code.call(dispatch.lookup));
  module.export('run', run);
  return { module: compile(module.encode()), handlers, special };
}

export function instantiate(
  core: InterpreterCore,
  memory: WasmMemory,
  imports: InterpreterImports,
): InterpreterExports {
  // Plain functions of the right arity: WebAssembly calls them without `this`, and calls no other kind as fast.
  const cpu: InterpreterImports & { memory: WasmMemory } = {
    memory,
    readSlow: (record, linear, size) => imports.readSlow(record, linear, size),
    readSlow64: (record, linear) => imports.readSlow64(record, linear),
    modifySlow: (record, linear, size) => imports.modifySlow(record, linear, size),
    modifySlow64: (record, linear) => imports.modifySlow64(record, linear),
    writeSlow: (record, linear, size, value) => imports.writeSlow(record, linear, size, value),
    writeSlow64: (record, linear, value) => imports.writeSlow64(record, linear, value),
    readSlow128: (record, linear, aligned) => imports.readSlow128(record, linear, aligned),
    writeSlow128: (record, linear, aligned) => imports.writeSlow128(record, linear, aligned),
    writeMaskedSlow: (record, linear, size) => imports.writeMaskedSlow(record, linear, size),
    simdUnavailable: (record, sse) => imports.simdUnavailable(record, sse),
    simdException: (record) => imports.simdException(record),
    generalProtection: (record) => imports.generalProtection(record),
    segmentFault: (record, segment) => imports.segmentFault(record, segment),
    raise: (record, vector) => imports.raise(record, vector),
    external: (record) => imports.external(record),
    find: () => imports.find(),
    link: (record) => imports.link(record),
    shorten: (record) => imports.shorten(record),
  };
  return instantiateModule(core.module, { cpu: { ...cpu } }) as unknown as InterpreterExports;
}
