/**
 * The machine's apt sources, rewritten for one foreign architecture. Only text: apt reads the result from a private
 * folder, and the machine's own files stay as they are.
 */

/**
 * A one-line-style sources file (sources.list(5)) without source packages and without `arch=`, which would hide
 * another architecture's index. Other options (signed-by, trusted) stay.
 */
export function rewriteOneLine(text: string): string {
  const kept: string[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s*)?(.*)$/.exec(line);
    if (!match) continue;
    const options = (match[1] ?? '')
      .split(/\s+/)
      .filter((option) => option !== '' && !/^arch[-+]?=/.test(option));
    kept.push(`deb ${options.length > 0 ? `[${options.join(' ')}] ` : ''}${match[2]}`);
  }
  return kept.map((line) => `${line}\n`).join('');
}

/** A deb822-style sources file, likewise: without `Architectures`, and `Types` with `deb` only. */
export function rewriteDeb822(text: string): string {
  const stanzas = text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .split(/\n\s*\n/);
  const kept: string[] = [];
  for (const stanza of stanzas) {
    const fields = stanza.split(/\n(?![ \t])/).filter((field) => field.trim() !== '');
    const types = fields.find((field) => /^types:/i.test(field));
    if (types === undefined || !/\bdeb(?!-)\b/.test(types.slice(types.indexOf(':') + 1))) continue;
    const others = fields.filter((field) => !/^(types|architectures(-add|-remove)?):/i.test(field));
    kept.push(['Types: deb', ...others].join('\n'));
  }
  return kept.map((stanza) => `${stanza}\n`).join('\n');
}
