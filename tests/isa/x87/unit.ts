/** An FPU by itself: the arithmetic in a module of its own, the state in that module's memory. */
import type { X87Model } from '../../../src/isa/x87/core.ts';
import {
  emitSoftFloat,
  exportSoftFloat,
  type SoftFloat,
  softFloatOf,
} from '../../../src/isa/x87/softfloat/softfloat.ts';
import { X87 } from '../../../src/isa/x87/state.ts';
import { ModuleBuilder } from '../../../src/wasm/module.ts';

export interface Unit {
  readonly fpu: X87;
  readonly soft: SoftFloat;
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

const STATE = 0x1000;

/** Addresses below 0x1000 are free for operands of the arithmetic. */
export function makeUnit(model?: X87Model): Unit {
  const module = new ModuleBuilder();
  module.importMemory('core', 'memory', 1, 1);
  exportSoftFloat(module, emitSoftFloat(module));
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), { core: { memory } });
  const soft = softFloatOf(instance.exports as Record<string, unknown>);
  const fpu = new X87(memory.buffer, STATE, soft, model);
  fpu.initialize();
  return { fpu, soft, bytes: new Uint8Array(memory.buffer), view: new DataView(memory.buffer) };
}
