import { spawn } from 'node:child_process';
import { parseTranscript, type Result, type Transcript } from './transcript.ts';

/** A program to run. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
}

/** How a program ended, and what it printed. */
export interface ProgramEnd {
  readonly output: string;
  /** As a clause: `it ended with status 1`. */
  readonly reason: string;
}

/** Runs a program until it ends or has printed nothing for so many milliseconds. */
export function runProgram({ program, args }: Command, patience: number): Promise<ProgramEnd> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
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
 * Runs an image to its end on a machine that may die of a scenario: then again from the next one. A machine may do so by
 * itself as well, so that there are several transcripts in what it prints.
 * @param boot runs the image with a command line
 */
export async function runToEnd(boot: (commandLine: string) => Promise<ProgramEnd>): Promise<Transcript> {
  const results: Result[] = [];
  for (;;) {
    const first = results.length + 1;
    const end = await boot(`first=${first} show=512`);
    let transcript = parseTranscript('');
    for (const output of transcriptsIn(end.output)) {
      transcript = parseTranscript(output);
      results.push(...transcript.results.slice(results.length));
      if (transcript.died === undefined) continue;
      results.push({
        ...transcript.died,
        verdict: 'died',
        reason: reasonIn(output) ?? end.reason,
        mismatches: [],
      });
    }
    if (transcript.planned > 0 ? results.length >= transcript.planned : isSkip(transcript)) {
      return { ...transcript, results };
    }
    if (results.length < first) {
      throw new Error(`The image did not run: ${end.reason}. It printed: ${end.output.slice(-500)}`);
    }
  }
}

/** The image said that it cannot run here. */
const isSkip = ({ skip }: Transcript): boolean => skip !== undefined;

const transcriptsIn = (output: string): string[] => output.split(/^(?=TAP version 13\r?$)/m);

/** How the machine ended by its own words, those of kvm/launcher.c. */
const reasonIn = (output: string): string | undefined => /^launcher: (.*?)\r?$/m.exec(output)?.[1];
