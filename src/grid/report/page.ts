import { STYLE } from './style.ts';

/** Text with what HTML would take for markup made harmless. */
export const text = (value: string | number): string =>
  String(value).replace(/[&<>"]/g, (character) => ENTITIES[character] as string);
const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** The id of what has a name, for links to it. */
export const idOf = (name: string): string => name.replace(/[^a-z0-9]+/gi, '-');
export const plural = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

/** What a page is made of; all but the title is HTML. */
interface PageParts {
  readonly title: string;
  /** The outcome in a sentence, and whether it is a good one. */
  readonly verdict: string;
  readonly right: boolean;
  readonly about: string;
  readonly main: string;
}

/** A page that needs nothing else. Without scripts it can be read and printed; the script opens what a link leads to. */
export const htmlPage = ({ title, verdict, right, about, main }: PageParts): string => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Umbra: ${text(title.charAt(0).toLowerCase() + title.slice(1))}</title>
<style>${STYLE}</style>
<header>
<h1>${text(title)}</h1>
<p class="verdict ${right ? 'right' : 'wrong'}">${verdict}</p>
<p>${about}</p>
</header>
<main>
${main}
</main>
<script>${OPEN_TARGET}</script>
</html>
`;

/** Opens the details that a link leads to, and those around it. */
const OPEN_TARGET = `
const open = () => {
  let at = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const target = at;
  for (; at; at = at.parentElement) if (at.tagName === 'DETAILS') at.open = true;
  target?.scrollIntoView();
};
addEventListener('hashchange', open);
addEventListener('beforeprint', () => document.querySelectorAll('details.story, details.behind').forEach((told) => { told.open = true; }));
open();
`;
