import { spawn } from 'node:child_process';
import { parseTranscript, type Result, type Transcript } from './transcript.ts';

/** How a program ended, and what it printed. */
export interface ProgramEnd {
  readonly output: string;
  /** As a clause: `it ended with status 1`. */
  readonly reason: string;
}

/** Runs a program until it ends or has printed nothing for so many milliseconds. */
export function runProgram(command: string, args: readonly string[], patience: number): Promise<ProgramEnd> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const output: Buffer[] = [];
    let complaints = '';
    let silent = false;
    const giveUp = (): void => {
      silent = true;
      child.kill('SIGKILL');
    };
    let timer = setTimeout(giveUp, patience);
    child.stdout.on('data', (chunk: Buffer) => {
      output.push(chunk);
      clearTimeout(timer);
      timer = setTimeout(giveUp, patience);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      complaints += chunk.toString();
    });
    child.on('error', reject);
    child.on('close', (status) => {
      clearTimeout(timer);
      const [complaint = ''] = complaints.split('\n').filter((line) => line !== '' && !/warning:/.test(line));
      const how = silent ? `it was silent for ${patience / 1000} s` : `it ended with status ${status}`;
      const reason = complaint === '' ? how : `${how}, saying: ${complaint}`;
      resolve({ output: Buffer.concat(output).toString('utf8'), reason });
    });
  });
}

/**
 * Runs an image to its end on a machine that may die of a scenario: then again from the next one.
 * @param boot runs the image with a command line
 */
export async function runToEnd(boot: (commandLine: string) => Promise<ProgramEnd>): Promise<Transcript> {
  const results: Result[] = [];
  for (let first = 1; ; ) {
    const { output, reason } = await boot(`first=${first} show=512`);
    const transcript = parseTranscript(output);
    if (transcript.planned > 0 && transcript.results.length === 0 && transcript.died === undefined) {
      throw new Error(`The image did not run: ${reason}. It printed: ${output.slice(-500)}`);
    }
    results.push(...transcript.results.slice(first - 1));
    const { died } = transcript;
    if (died === undefined || transcript.processor === undefined) {
      if (results.length < transcript.planned)
        throw new Error(`The image stopped: ${reason}. ${output.slice(-500)}`);
      return { ...transcript, results };
    }
    results.push({ ...died, verdict: 'died', reason, mismatches: [] });
    first = died.number + 1;
    if (first > transcript.planned) return { ...transcript, results, died: undefined };
  }
}
