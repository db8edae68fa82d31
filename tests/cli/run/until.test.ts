import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UntilMatcher } from '../../../src/cli/run/until.ts';

/** Pushes text byte by byte and returns after how many bytes the matcher said yes, or -1. */
function matchedAfter(matcher: UntilMatcher, text: string): number {
  const bytes = Buffer.from(text);
  for (let index = 0; index < bytes.length; index++)
    if (matcher.push(bytes[index] as number)) return index + 1;
  return -1;
}

describe('UntilMatcher', () => {
  it('matches at the end of the line that holds the text', () => {
    expect(matchedAfter(new UntilMatcher(/OK/), 'no\nis OK here\nmore\n')).toBe(14);
  });

  it('does not take the middle of a line for its end', () => {
    expect(matchedAfter(new UntilMatcher(/foo$/m), 'foobar\nfoo\r\n')).toBe(12);
  });

  it('matches across lines', () => {
    expect(matchedAfter(new UntilMatcher(/one\r?\n.*two/), 'one\r\nand two\r\n')).toBe(14);
  });

  it('sees a prompt when it rests', () => {
    const matcher = new UntilMatcher(/login: $/);
    expect(matchedAfter(matcher, 'Debian\nlogin: ')).toBe(-1);
    expect(matcher.rest()).toBe(true);
    expect(matcher.matched).toBe(true);
  });

  it('reads UTF-8 whose bytes come one by one', () => {
    expect(matchedAfter(new UntilMatcher(/schön✓/), 'sehr schön✓\n')).toBeGreaterThan(0);
  });

  it('finds a line wherever it stands in a long stream', () => {
    fc.assert(
      fc.property(fc.nat({ max: 4000 }), fc.nat({ max: 50 }), (lines, length) => {
        const noise = `${'x'.repeat(length)}\n`.repeat(lines);
        const text = `${noise}MARK\n`;
        expect(matchedAfter(new UntilMatcher(/^MARK$/m), `${text}${noise}`)).toBe(text.length);
      }),
      { numRuns: 30 },
    );
  });

  it('holds a bounded stretch of a line that never ends', () => {
    const matcher = new UntilMatcher(/a.*b/);
    matcher.push(0x61);
    for (let count = 0; count < 200_000; count++) {
      matcher.push(0x78);
      if (count % 1000 === 0) expect(matcher.rest()).toBe(false);
    }
    matcher.push(0x62);
    expect(matcher.rest()).toBe(false);
  });
});
