/** compress.js FROM TO: every family file FROM/NAME.bin as TO/NAME.bin.br. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';

const [from, to] = process.argv.slice(2);
if (!from || !to) {
  console.error('usage: node compress.js FROM TO');
  process.exit(2);
}

let total = 0;
for (const name of readdirSync(from).filter((file) => file.endsWith('.bin'))) {
  const bytes = readFileSync(join(from, name));
  const packed = brotliCompressSync(bytes, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 11,
      [constants.BROTLI_PARAM_LGWIN]: 24,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  });
  writeFileSync(join(to, `${name}.br`), packed);
  total += packed.length;
  console.log(
    `${name.padEnd(28)} ${String(bytes.length).padStart(10)} -> ${String(packed.length).padStart(9)}`,
  );
}
console.log(`${'all'.padEnd(28)} ${String(total).padStart(24)}`);
