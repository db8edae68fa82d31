import { describe, expect, it } from 'vitest';
import {
  COMBINATION,
  combineExceptions,
  exceptionName,
  exceptionOf,
  pushesErrorCode,
  VECTOR,
} from '../../src/arch/exceptions.ts';

const { SERIAL, DOUBLE_FAULT, SHUTDOWN } = COMBINATION;
const VECTORS = Array.from({ length: 32 }, (_, vector) => vector);

describe('exceptions', () => {
  it('push an error code for #DF #TS #NP #SS #GP #PF #AC #CP #SX only (SDM vol. 3A table 6-1, APM vol. 2 8.2)', () => {
    expect(VECTORS.filter(pushesErrorCode)).toEqual([8, 10, 11, 12, 13, 14, 17, 21, 30]);
    expect(pushesErrorCode(32)).toBe(false);
  });

  it('are named as in the manuals', () => {
    expect([0, 1, 2, 14, 19].map(exceptionName)).toEqual(['#DE', '#DB', 'NMI', '#PF', '#XM']);
    expect(exceptionName(15)).toBe('vector 15');
    expect(exceptionOf(15)).toBeUndefined();
  });

  it('are faults, traps or aborts (SDM vol. 3A table 6-1)', () => {
    const kinds = (kind: string) => VECTORS.filter((vector) => exceptionOf(vector)?.kind === kind);
    expect(kinds('trap')).toEqual([1, 3, 4]);
    expect(kinds('abort')).toEqual([8, 18]);
    expect(kinds('fault')).toEqual([0, 5, 6, 7, 9, 10, 11, 12, 13, 14, 16, 17, 19, 20, 21]);
  });
});

describe('double-fault rule (SDM vol. 3A table 6-5)', () => {
  const contributory = [VECTOR.DE, VECTOR.TS, VECTOR.NP, VECTOR.SS, VECTOR.GP];
  const benign = [VECTOR.DB, VECTOR.NMI, VECTOR.BP, VECTOR.OF, VECTOR.BR, VECTOR.UD, VECTOR.NM, VECTOR.MF];
  const combined = (first: readonly number[], second: readonly number[]) => [
    ...new Set(first.flatMap((a) => second.map((b) => combineExceptions(a, b)))),
  ];

  it.each([
    ['benign, benign', benign, benign, SERIAL],
    ['benign, contributory', benign, contributory, SERIAL],
    ['benign, page fault', benign, [VECTOR.PF], SERIAL],
    ['contributory, benign', contributory, benign, SERIAL],
    ['contributory, contributory', contributory, contributory, DOUBLE_FAULT],
    ['contributory, page fault', contributory, [VECTOR.PF], SERIAL],
    ['page fault, benign', [VECTOR.PF], benign, SERIAL],
    ['page fault, contributory', [VECTOR.PF], contributory, DOUBLE_FAULT],
    ['page fault, page fault', [VECTOR.PF], [VECTOR.PF], DOUBLE_FAULT],
    ['double fault, contributory', [VECTOR.DF], contributory, SHUTDOWN],
    ['double fault, page fault', [VECTOR.DF], [VECTOR.PF], SHUTDOWN],
    ['double fault, benign', [VECTOR.DF], benign, SERIAL],
    ['#AC and #MC are benign', [VECTOR.PF], [VECTOR.AC, VECTOR.MC], SERIAL],
  ] as const)('%s', (_, first, second, expected) => {
    expect(combined(first, second)).toEqual([expected]);
  });
});
