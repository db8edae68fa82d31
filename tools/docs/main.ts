/** `npm run docs`: has Umbra print anew what the pages of docs/ show of it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { withBlocks } from './blocks.ts';

const PAGES = ['docs/smep-and-not-wp.md'];

for (const page of PAGES) {
  const path = new URL(`../../${page}`, import.meta.url);
  writeFileSync(path, withBlocks(readFileSync(path, 'utf8')));
}
