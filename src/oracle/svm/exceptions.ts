import { bit, has, VECTOR } from '../bits.ts';

/** Exit codes (APM vol. 2 appendix C). An intercepted exception is EXCP_BASE + vector. */
export const EXIT = { EXCP_BASE: 0x40, SHUTDOWN: 0x7f } as const;

/** Types of an event in EXITINTINFO and EVENTINJ (APM vol. 2 table 15-1). */
export const EVENT_TYPE = { INTERRUPT: 0, NMI: 2, EXCEPTION: 3, SOFTWARE: 4 } as const;

/** An event on its way through the IDT. */
export interface GuestEvent {
  readonly type: (typeof EVENT_TYPE)[keyof typeof EVENT_TYPE];
  readonly vector: number;
  /** Left out where none is pushed. */
  readonly errorCode?: number;
}

/** An exception that an instruction, or the delivery of an event, raises in a guest. */
export interface GuestException {
  readonly vector: number;
  readonly errorCode?: number;
  /** Faulting linear address of a #PF. */
  readonly address?: bigint;
}

export interface GuestIntercepts {
  /** Intercept vector for exceptions, bit n for vector n (VMCB offset 008h). */
  readonly exceptions: number;
  readonly shutdown: boolean;
}

export type ExceptionOutcome =
  | {
      readonly kind: 'vmexit';
      readonly exitCode: number;
      /** Undefined where the manual leaves the field undefined. */
      readonly exitInfo1: bigint | undefined;
      readonly exitInfo2: bigint | undefined;
      /** The event whose delivery was interrupted; 0 (V clear) if none. */
      readonly exitIntInfo: bigint;
      /** What CR2 has become; undefined: unchanged. */
      readonly cr2: bigint | undefined;
    }
  /** The guest takes this event through its IDT. */
  | { readonly kind: 'deliver'; readonly event: GuestEvent; readonly cr2: bigint | undefined }
  /** Triple fault, not intercepted: the processor shuts down. */
  | { readonly kind: 'shutdown' };

/**
 * What becomes of an exception in a guest (APM vol. 2 15.7.3, 15.12): its intercept is looked at first, then it is
 * combined with the event in delivery, then the intercept of #DF or shutdown is looked at.
 */
export function guestException(
  exception: GuestException,
  intercepts: GuestIntercepts,
  inDelivery?: GuestEvent,
): ExceptionOutcome {
  const exitIntInfo = inDelivery === undefined ? 0n : encodeEvent(inDelivery);
  if (intercepted(intercepts, exception.vector)) {
    const { exitInfo1, exitInfo2 } = exceptionExitInfo(exception);
    // The #PF intercept comes before CR2 is written (APM vol. 2 15.12.15).
    return {
      kind: 'vmexit',
      exitCode: EXIT.EXCP_BASE + exception.vector,
      exitInfo1,
      exitInfo2,
      exitIntInfo,
      cr2: undefined,
    };
  }
  const cr2 = exception.vector === VECTOR.PF ? exception.address : undefined;
  switch (combine(inDelivery, exception.vector)) {
    case 'serial':
      return { kind: 'deliver', event: eventOf(exception), cr2 };
    case 'double fault': {
      if (!intercepted(intercepts, VECTOR.DF)) {
        return {
          kind: 'deliver',
          event: { type: EVENT_TYPE.EXCEPTION, vector: VECTOR.DF, errorCode: 0 },
          cr2,
        };
      }
      const exitCode = EXIT.EXCP_BASE + VECTOR.DF;
      return { kind: 'vmexit', exitCode, exitInfo1: undefined, exitInfo2: undefined, exitIntInfo, cr2 };
    }
    case 'shutdown':
      if (!intercepts.shutdown) return { kind: 'shutdown' };
      // The state saved is undefined (APM vol. 2 15.14.3); the exit code is all there is to compare.
      return {
        kind: 'vmexit',
        exitCode: EXIT.SHUTDOWN,
        exitInfo1: undefined,
        exitInfo2: undefined,
        exitIntInfo,
        cr2,
      };
  }
}

/** EXITINTINFO and EVENTINJ with V set (APM vol. 2 figure 15-1). */
export function encodeEvent({ type, vector, errorCode }: GuestEvent): bigint {
  const code = errorCode === undefined ? 0n : bit(11) | (BigInt(errorCode >>> 0) << 32n);
  return bit(31) | code | (BigInt(type) << 8n) | BigInt(vector);
}

/** EXITINFO1 and EXITINFO2 of an intercepted exception (APM vol. 2 15.12.1 to 15.12.21). */
export function exceptionExitInfo(exception: GuestException): {
  exitInfo1: bigint | undefined;
  exitInfo2: bigint | undefined;
} {
  const code = BigInt(exception.errorCode ?? 0);
  switch (exception.vector) {
    case VECTOR.PF:
      return { exitInfo1: code, exitInfo2: exception.address };
    case VECTOR.NP:
    case VECTOR.SS:
    case VECTOR.GP:
    case VECTOR.AC:
    case VECTOR.CP:
    case VECTOR.SX:
      return { exitInfo1: code, exitInfo2: undefined };
    default:
      return { exitInfo1: undefined, exitInfo2: undefined };
  }
}

/** Vectors 2 and 9 have no exception intercept (APM vol. 2 15.12.3, 15.12.10). */
const intercepted = ({ exceptions }: GuestIntercepts, vector: number): boolean =>
  vector !== VECTOR.NMI && vector !== 9 && has(BigInt(exceptions >>> 0), bit(vector));

const eventOf = ({ vector, errorCode }: GuestException): GuestEvent =>
  errorCode === undefined
    ? { type: EVENT_TYPE.EXCEPTION, vector }
    : { type: EVENT_TYPE.EXCEPTION, vector, errorCode };

// biome-ignore format: table
const CONTRIBUTORY: ReadonlySet<number> = new Set([VECTOR.DE, VECTOR.TS, VECTOR.NP, VECTOR.SS, VECTOR.GP, VECTOR.CP]);

type ExceptionClass = 'benign' | 'contributory' | 'page fault' | 'double fault';

/** Classes of SDM vol. 3A table 6-4 (APM vol. 2 8.2.9); interrupts of any vector are benign. */
function classOf(vector: number): ExceptionClass {
  if (vector === VECTOR.DF) return 'double fault';
  if (vector === VECTOR.PF || vector === VECTOR.VE) return 'page fault';
  return CONTRIBUTORY.has(vector) ? 'contributory' : 'benign';
}

/** SDM vol. 3A table 6-5: a second exception while a first event is being delivered. */
export function combine(
  first: GuestEvent | undefined,
  second: number,
): 'serial' | 'double fault' | 'shutdown' {
  if (first === undefined || first.type !== EVENT_TYPE.EXCEPTION) return 'serial';
  const before = classOf(first.vector);
  const after = classOf(second);
  if (after === 'benign' || before === 'benign') return 'serial';
  if (before === 'double fault') return 'shutdown';
  if (before === 'contributory' && after === 'page fault') return 'serial';
  return 'double fault';
}
