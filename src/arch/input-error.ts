/**
 * Input that cannot be used: an image, an option, a file. The message is a whole sentence that says what was wrong,
 * where (offset, option, line) and what would be right, fit to be shown to whoever gave the input.
 */
export class InputError extends Error {
  override readonly name = 'InputError';
}
