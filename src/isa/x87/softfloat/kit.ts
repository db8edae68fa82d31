import type { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { type ModuleBuilder, signature } from '../../../wasm/module.ts';
import { emitScreen } from './operands.ts';
import { emitRoundPack } from './rounding.ts';
import { emitDivideWide } from './wide.ts';

/** What the operations share: the functions they call and the module they go into. */
export interface Kit {
  readonly module: ModuleBuilder;
  readonly screen: FunctionReference;
  readonly roundPack: FunctionReference;
  readonly divideWide: FunctionReference;
}

/** What operations on finite numbers need: how to round is the format's affair. */
export type FiniteKit = Pick<Kit, 'module' | 'roundPack' | 'divideWide'>;

export const makeKit = (module: ModuleBuilder): Kit => ({
  module,
  screen: emitScreen(module),
  roundPack: emitRoundPack(module),
  divideWide: emitDivideWide(module),
});

/** A function of `count` i32 arguments (slot addresses, the control word last) that returns flags. */
export function operation(
  module: ModuleBuilder,
  count: number,
  write: (f: FunctionBuilder, ...args: readonly Int[]) => void,
): FunctionReference {
  const parameters = Array.from({ length: count }, () => 'i32' as const);
  return module.function(signature(parameters, ['i32']), (f) => {
    write(f, ...parameters.map((_, place) => f.parameter(place)));
  });
}
