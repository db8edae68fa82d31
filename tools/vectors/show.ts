/** show.ts FAMILY [FORM-REGEX [COUNT]]: prints vectors, COUNT of each form whose name matches. */

import { readFileSync } from 'node:fs';
import { describeVector } from '../../tests/vectors/describe.ts';
import { loadFamily, VectorFamily } from '../../tests/vectors/format.ts';

const [name, pattern = '.', count = '3'] = process.argv.slice(2);
if (!name) {
  console.error('usage: npx tsx tools/vectors/show.ts FAMILY|FILE.bin [FORM-REGEX [COUNT]]');
  process.exit(2);
}
const family = name.endsWith('.bin') ? new VectorFamily(readFileSync(name)) : loadFamily(name);
const wanted = new RegExp(pattern);
for (const vector of family.vectors()) {
  if (vector.index < Number(count) && wanted.test(vector.form.name)) {
    console.log(describeVector(vector, family.baseline));
  }
}
