import { describe, expect, it } from 'vitest';
import { internalError } from '../../src/cli/internal-error.ts';

describe('an error that nobody foresaw', () => {
  it('shows where it was only to who asks', () => {
    const error = new TypeError('x is not a function');
    expect(internalError(error, false)).toMatch(
      /^umbra: internal error: x is not a function; please report it\.\n[^\n]*UMBRA_DEBUG=1[^\n]*\n$/,
    );
    expect(internalError(error, true)).toContain(`\n${error.stack}\n`);
  });

  it('may be anything that was thrown', () => {
    expect(internalError('text', false)).toContain('internal error: text; please report it');
    expect(internalError(undefined, true)).toContain('internal error: undefined; please report it');
  });
});
