import { Redis } from 'ioredis';
import { InputError } from '../../arch/input-error.ts';
import { Failure } from '../failure.ts';

/** Changes when what travels through the queue does, so that workers of another Umbra leave it alone. */
export const QUEUE_NAME = 'umbra-jobs-3';

const CONNECT_MILLISECONDS = 5000;

/** A queue's address: `redis://host:port/database`, or `rediss:` with TLS. @throws InputError */
export function parseQueue(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.hostname && (url.protocol === 'redis:' || url.protocol === 'rediss:')) return text;
  throw new InputError('must be the address of a queue, like redis://localhost:6379.');
}

/** Connects to Redis. @throws Failure where nobody answers */
export async function connectRedis(url: string): Promise<Redis> {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: CONNECT_MILLISECONDS,
    // BullMQ asks for it: its commands wait for a lost connection to come back.
    maxRetriesPerRequest: null,
    retryStrategy: (times) => Math.min(times * 200, CONNECT_MILLISECONDS),
  });
  let reason = 'it does not answer';
  redis.on('error', (error: Error) => {
    reason = error.message;
  });
  // The first connection has to come at once; lost ones are sought for ever.
  const connected = redis.connect();
  connected.catch(() => {});
  const timer = new Promise<'late'>((resolve) => setTimeout(resolve, CONNECT_MILLISECONDS, 'late').unref());
  const outcome = await Promise.race([
    connected.then(
      () => 'connected' as const,
      () => 'late' as const,
    ),
    timer,
  ]);
  if (outcome === 'connected') return redis;
  redis.disconnect();
  throw new Failure(`There is no Redis at ${url}: ${reason}.`);
}
