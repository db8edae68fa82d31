import { SingleBar } from 'cli-progress';
import type { Host } from './host.ts';

export interface Progress {
  readonly done: number;
  readonly total: number;
}

/** Runs steps to their end, with a progress bar on a terminal, and answers what they return. */
export async function withProgress<Result>(
  host: Host,
  steps: AsyncGenerator<Progress, Result>,
): Promise<Result> {
  const bar = new SingleBar({
    format: '{bar} {percentage}% | {value}/{total} | {duration_formatted}',
    stream: host.stderr,
    hideCursor: true,
    clearOnComplete: true,
    barCompleteChar: '█',
    barIncompleteChar: '░',
  });
  const shown = host.stderr.isTTY === true;
  let running = false;
  try {
    for (;;) {
      const step = await steps.next();
      if (step.done) return step.value;
      const { done, total } = step.value;
      if (shown && !running) bar.start(total, done);
      else if (shown) bar.update(done);
      running = true;
      // Lets the bar draw itself and Ctrl-C through.
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    if (shown && running) bar.stop();
  }
}
