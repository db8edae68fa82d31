#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import type { Host } from './host.ts';
import { umbra } from './program.ts';
import { services } from './wiring.ts';

const host: Host = {
  // Only who asks for it opens it: a command that reads nothing must not hold a terminal.
  get stdin() {
    return process.stdin;
  },
  stdout: process.stdout,
  stderr: process.stderr,
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
// Not process.exit: output that still waits in a pipe must go out first.
process.exitCode = await umbra(process.argv.slice(2), version, host, services);
