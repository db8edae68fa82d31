/**
 * What the user is told where nobody foresaw an error.
 * @param debug the stack as well
 */
export function internalError(error: unknown, debug: boolean): string {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  const lines = [`umbra: internal error: ${message}; please report it.`];
  lines.push(debug ? (stack ?? '(no stack)') : 'With UMBRA_DEBUG=1 in the environment it shows where.');
  return `${lines.join('\n')}\n`;
}
