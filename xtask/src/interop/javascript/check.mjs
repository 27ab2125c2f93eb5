// One line a check; what went wrong decides how the program ends.

import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';

/** What the run is told. On the standard input, for it holds secrets. */
export const setting = JSON.parse(readFileSync(0, 'utf8'));

let faults = 0;

export async function check(sentence, work) {
  try {
    await work();
    console.log(`ok      ${sentence}`);
  } catch (error) {
    // Whatever a library throws is a finding.
    faults += 1;
    const line = /[^/]+\.mjs:\d+/.exec(error.stack ?? '')?.[0];
    const cause = error.cause === undefined ? '' : `; ${error.cause?.message ?? JSON.stringify(error.cause)}`;
    console.log(`FAILED  ${sentence}: ${line}: ${error.name}: ${error.message}${cause}`);
  }
}

export function same(got, expected) {
  if (!isDeepStrictEqual(got, expected)) {
    throw new Error(`${JSON.stringify(got)} and not ${JSON.stringify(expected)}`);
  }
}

export function holds(condition, sentence) {
  if (!condition) throw new Error(sentence);
}

/** To be called last. */
export function end() {
  if (faults > 0) console.error(`${faults} checks failed`);
  process.exit(faults > 0 ? 1 : 0);
}
