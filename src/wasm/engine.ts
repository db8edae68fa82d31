/**
 * The WebAssembly engine behind names of our own: what a library's declarations say must not need those of a browser or of
 * Node.
 */

/** A linear memory that does not grow. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}

/** A compiled module; what is in it is the engine's. */
export interface WasmModule {
  readonly [compiled]?: never;
}
declare const compiled: unique symbol;

const PAGE = 65536;

/** Memory of at least so many bytes, all zero. */
export function allocate(bytes: number): WasmMemory {
  const pages = Math.ceil(bytes / PAGE);
  return new WebAssembly.Memory({ initial: pages, maximum: pages });
}

/** Compiles a module, at once. */
export const compile = (bytes: Uint8Array<ArrayBuffer>): WasmModule => new WebAssembly.Module(bytes);

/** Makes an instance and answers what it exports. @param imports by module and name */
export const instantiateModule = (
  module: WasmModule,
  imports: Record<string, Record<string, unknown>>,
): Record<string, unknown> => new WebAssembly.Instance(module as WebAssembly.Module, imports).exports;
