import type { Stop } from './session.ts';

/** How a run ended: the exit status and, where something is to be said, a sentence. */
export interface Ending {
  readonly kind:
    | Exclude<Stop['kind'], 'budget' | 'halted'>
    | 'until'
    | 'timeout'
    | 'max-instructions'
    | 'left'
    | 'output-lost'
    | 'signal';
  readonly status: number;
  readonly sentence?: string;
}

/** Even, so that no debug exit of the guest has them. */
export const TRIPLE_FAULT_STATUS = 120;
export const L0_FAILURE_STATUS = 122;
export const LIMIT_STATUS = 124;

export const NOTHING_LEFT: Ending = {
  kind: 'dead',
  status: LIMIT_STATUS,
  sentence: 'the guest halted, and nothing is left that could wake it.',
};

/** What a machine's stop means for the run; undefined if it goes on. */
export function endingOf(stop: Stop): Ending | undefined {
  switch (stop.kind) {
    case 'budget':
    case 'halted':
      return undefined;
    case 'dead':
      return { ...NOTHING_LEFT, sentence: 'the guest halted with interrupts off; nothing can wake it.' };
    case 'power-off':
      return { kind: stop.kind, status: 0 };
    case 'reset':
      return { kind: stop.kind, status: 0, sentence: 'the guest reset the machine.' };
    case 'debug-exit':
      return { kind: stop.kind, status: ((stop.value << 1) | 1) & 0xff };
    case 'triple-fault':
      return {
        kind: stop.kind,
        status: TRIPLE_FAULT_STATUS,
        sentence: `triple fault.\n${stop.report}`.trimEnd(),
      };
    case 'l0-failure':
      return {
        kind: stop.kind,
        status: L0_FAILURE_STATUS,
        sentence: stop.message,
      };
  }
}
