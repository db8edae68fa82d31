/** The one-lane operations of SSE by themselves, in a module of their own. */
import { emitSoftOperations, type ScalarName } from '../../../src/isa/simd/index.ts';
import { ModuleBuilder, signature } from '../../../src/wasm/module.ts';

const PLACES = { mxcsr: 0, flags: 4, result: 8 } as const;
const RECORD = 0x1234;

type Lane = (record: number, x: bigint, y: bigint, extra: number) => bigint;

export interface Outcome {
  /** Bits of the result, unsigned; of no interest after an exception. */
  readonly bits: bigint;
  /** MXCSR afterwards. */
  readonly mxcsr: number;
  readonly raised: boolean;
}

/** Makes the operations; the answer runs one of them. */
export function makeOperations(): (
  name: ScalarName,
  mxcsr: number,
  x: bigint,
  y: bigint,
  extra?: number,
) => Outcome {
  const module = new ModuleBuilder();
  module.importMemory('test', 'memory', 1, 1);
  const exception = module.importFunction('test', 'exception', signature(['i32'], []));
  const { scalar } = emitSoftOperations(module, PLACES, exception);
  for (const [name, reference] of Object.entries(scalar)) module.export(name, reference);
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  let raised = 0;
  const imports = {
    memory,
    exception: (record: number) => {
      if (record === RECORD) raised++;
    },
  };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), { test: imports });
  const control = new Uint32Array(memory.buffer, PLACES.mxcsr, 1);
  return (name, mxcsr, x, y, extra = 0) => {
    control[0] = mxcsr;
    raised = 0;
    const bits = BigInt.asUintN(64, (exports[name] as Lane)(RECORD, x, y, extra));
    return { bits, mxcsr: control[0], raised: raised === 1 };
  };
}
