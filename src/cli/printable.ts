/** Text whose control characters, but for line feeds, are written out, so that a terminal does not obey them. */
export const printable = (text: string): string =>
  text.replace(/[^\n\P{Cc}]/gu, (character) => {
    const code = character.charCodeAt(0);
    return `\\x${code.toString(16).padStart(2, '0')}`;
  });
