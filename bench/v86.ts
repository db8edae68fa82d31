import { createRequire } from 'node:module';
import { V86, type V86Options } from 'v86';
import type { Engine, Measurement } from './engine.ts';
import { MarkListener } from './marks.ts';
import { type Elapsed, startStopwatch } from './stopwatch.ts';

/** v86 wants a power of two, and 64 MiB is what it takes unless told otherwise. */
const SMALLEST_MEMORY = 64 << 20;
const VIDEO_MEMORY = 1 << 20;
/** Seconds. */
const PATIENCE = 300;

/** v86 as it comes, its compiler on. */
export const v86: Engine = (image, memoryBytes) => runProgram(image, memoryBytes, false);

/** v86 with its interpreter only. */
export const v86Interpreter: Engine = (image, memoryBytes) => runProgram(image, memoryBytes, true);

async function runProgram(
  image: Uint8Array<ArrayBuffer>,
  memoryBytes: number,
  interpreterOnly: boolean,
): Promise<Measurement> {
  const emulator = await createV86(image, memoryBytes, interpreterOnly);
  const marks = new MarkListener();
  let elapsed: (() => Elapsed) | undefined;
  let times: Elapsed | undefined;
  await runUntilHeard(emulator, (byte) => {
    const heard = marks.push(byte);
    if (heard === 'begin') elapsed = startStopwatch();
    if (heard === 'end') times = elapsed?.();
    return heard === 'result';
  });
  return { ...(times as Elapsed), result: marks.result };
}

/** Starts a v86 and lets it go once `heard`, which gets the bytes that the guest sends on COM1, says so. */
export async function runUntilHeard(emulator: V86, heard: (byte: number) => boolean): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(
        () => reject(new Error(`v86 was not done after ${PATIENCE} seconds.`)),
        PATIENCE * 1000,
      );
      emulator.add_listener('serial0-output-byte', (byte) => {
        // The caller of this is WebAssembly and lets no exception through to us.
        try {
          if (heard(byte)) resolve();
        } catch (error) {
          reject(error);
        }
      });
      void emulator.run();
    });
  } finally {
    clearTimeout(timer);
    await emulator.destroy();
  }
}

/** A v86 with a multiboot image loaded, not yet running. */
export function createV86(
  image: Uint8Array<ArrayBuffer>,
  memoryBytes: number,
  interpreterOnly = false,
): Promise<V86> {
  const options: V86Options = {
    wasm_path: createRequire(import.meta.url).resolve('v86/build/v86.wasm'),
    memory_size: Math.max(memoryBytes, SMALLEST_MEMORY),
    vga_memory_size: VIDEO_MEMORY,
    multiboot: { buffer: image.slice().buffer },
    autostart: false,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    disable_jit: interpreterOnly,
  };
  return new Promise((resolve) => {
    const emulator = new V86(options);
    emulator.add_listener('emulator-ready', () => resolve(emulator));
  });
}
