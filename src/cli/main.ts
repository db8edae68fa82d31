#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { INTERNAL_STATUS } from './exit-status.ts';
import type { Host } from './host.ts';
import { internalError } from './internal-error.ts';
import { umbra } from './program.ts';
import { standardOutput } from './standard-output.ts';
import { services } from './wiring.ts';

const debug = process.env.UMBRA_DEBUG === '1';

const host: Host = {
  // Only who asks for it opens it: a command that reads nothing must not hold a terminal.
  get stdin() {
    return process.stdin;
  },
  stdout: standardOutput(),
  stderr: process.stderr,
  debug,
  now: () => performance.now(),
  onSignal(callback) {
    process.on('SIGINT', callback);
    process.on('SIGTERM', callback);
    return () => {
      process.off('SIGINT', callback);
      process.off('SIGTERM', callback);
    };
  },
};

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
// What standard error does not take can be told to nobody.
process.stderr.on('error', () => {});
// What escapes even the command line: an error in a callback.
process.on('uncaughtException', (error) => {
  process.stderr.write(internalError(error, debug));
  process.exit(INTERNAL_STATUS);
});
// Not process.exit: output that still waits in a pipe must go out first.
process.exitCode = await umbra(process.argv.slice(2), version, host, services);
