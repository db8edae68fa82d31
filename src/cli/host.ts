import type { Writable } from 'node:stream';
import type { InputStream } from './run/console.ts';

/** What the command line touches of the process it runs in; tests give it streams of their own. */
export interface Host {
  readonly stdin: InputStream;
  readonly stdout: Writable;
  readonly stderr: Writable & { readonly isTTY?: boolean };
  /** Whoever works on Umbra wants to see where an error came from. */
  readonly debug?: boolean;
  /** Milliseconds since some moment, for durations only. */
  now(): number;
  /** Calls back when the user or the system wants the program to end (SIGINT, SIGTERM); returns how to stop listening. */
  onSignal(callback: (signal: 'SIGINT' | 'SIGTERM') => void): () => void;
}
