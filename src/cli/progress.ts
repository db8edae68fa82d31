import { SingleBar } from 'cli-progress';
import type { Host } from './host.ts';

export interface Progress {
  readonly done: number;
  readonly total: number;
  /** What was done last. */
  readonly name?: string;
}

/** Where no bar can be drawn, a line now and then says that there is progress. Milliseconds. */
const LINE_EVERY = 10_000;

/**
 * Runs steps to their end and answers what they return; standard error shows a progress bar where it is a terminal, else
 * a line now and then.
 * @param unit what is counted
 */
export async function withProgress<Result>(
  host: Host,
  steps: AsyncGenerator<Progress, Result>,
  unit = 'scenarios',
): Promise<Result> {
  const bar = new SingleBar({
    format: `{bar} {percentage}% | {value}/{total} ${unit} | {duration_formatted} | {name}`,
    stream: host.stderr,
    hideCursor: true,
    clearOnComplete: true,
    barCompleteChar: '█',
    barIncompleteChar: '░',
  });
  const shown = host.stderr.isTTY === true;
  let running = false;
  let said = host.now();
  try {
    for (;;) {
      const step = await steps.next();
      if (step.done) return step.value;
      const { done, total, name = '' } = step.value;
      if (shown && !running) bar.start(total, done, { name });
      else if (shown) bar.update(done, { name });
      else if (host.now() - said >= LINE_EVERY) {
        said = host.now();
        host.stderr.write(`umbra: ${done} of ${total} ${unit}${name && `, last ${name}`}\n`);
      }
      running = true;
      // Lets the bar draw itself and Ctrl-C through.
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    if (shown && running) bar.stop();
  }
}
