import { spawn } from 'node:child_process';
import { Failure } from '../failure.ts';

export interface Finished {
  /** Exit status; -1 where a signal ended the program. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The C locale, so that messages and sort order are the same everywhere. */
const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  LC_ALL: 'C',
  DEBIAN_FRONTEND: 'noninteractive',
});

/**
 * Runs a program to its end and collects what it prints.
 * @throws Failure where the program does not exist or cannot be started
 */
export function finish(command: string, args: readonly string[], cwd?: string): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', (error) => reject(new Failure(`${command} could not be started: ${error.message}.`)));
    child.on('close', (status) => resolve({ status: status ?? -1, stdout, stderr }));
  });
}

/** As `finish`, and a status other than 0 is a Failure that carries what the program said. */
export async function succeed(command: string, args: readonly string[], cwd?: string): Promise<string> {
  const { status, stdout, stderr } = await finish(command, args, cwd);
  if (status !== 0) {
    throw new Failure(
      `${command} ${args[0] ?? ''} ended with status ${status}:\n${stderr.trim() || stdout.trim()}`,
    );
  }
  return stdout;
}

/** Runs `producer | consumer`, returns what the consumer prints, and throws a Failure if either fails. */
export function pipe(
  producer: readonly [string, ...string[]],
  consumer: readonly [string, ...string[]],
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const from = spawn(producer[0], producer.slice(1), {
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const to = spawn(consumer[0], consumer.slice(1), { env: environment(), stdio: ['pipe', 'pipe', 'pipe'] });
    const output: Buffer[] = [];
    let running = 2;
    const watch = (command: string, child: typeof from | typeof to): void => {
      let complaints = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
      child.on('error', (error) => reject(new Failure(`${command} could not be started: ${error.message}.`)));
      child.on('close', (status) => {
        if (status !== 0)
          reject(new Failure(`${command} ended with status ${status}:\n${complaints.trim()}`));
        else if (--running === 0) resolve(Buffer.concat(output));
      });
    };
    watch(producer[0], from);
    watch(consumer[0], to);
    to.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    // A consumer that fails closes its end early; its status says so, the broken pipe adds nothing.
    to.stdin.on('error', () => {});
    from.stdout.pipe(to.stdin);
  });
}
