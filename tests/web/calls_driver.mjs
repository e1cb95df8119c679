/** Asks the calls that ship with a site: one JSON question on each line of standard input, one answer on each line out. */

import { createInterface } from "node:readline";

const calls = await import(process.argv[2]);

/** Texts that are decimal numbers behind a # stand for integers of any size. */
const revive = (_, value) => (typeof value === "string" && /^#\d+$/.test(value) ? BigInt(value.slice(1)) : value);

for await (const line of createInterface({ input: process.stdin })) {
  const { call, given } = JSON.parse(line, revive);
  if (call === "isCommitmentCall") given[0].annotation = calls.annotationOf(...given[0].annotation);
  process.stdout.write(`${JSON.stringify(calls[call](...given))}\n`);
}
