/** `npm run docs`: has Umbra print anew what the pages of docs/ show of it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { PAGES, withBlocks } from './blocks.ts';

for (const [page, blocks] of Object.entries(PAGES)) {
  const path = new URL(`../../${page}`, import.meta.url);
  writeFileSync(path, withBlocks(readFileSync(path, 'utf8'), blocks));
}
