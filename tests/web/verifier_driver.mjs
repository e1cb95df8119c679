/** Asks the verifier that ships with a site: one JSON question on each line of standard input, one answer on each line out. */

import { createInterface } from "node:readline";

const { checkProof, checkReceipt, extendsLog, extendsPart, includes } = await import(process.argv[2]);

const bytes = (text) => Uint8Array.from(Buffer.from(text, "hex"));
const told = ({ holds, statement, root, steps }) => ({
  holds,
  statement,
  root: root ?? null,
  steps: steps.map(({ name, rule, value, ok }) => [name, rule, value, ok]),
});

function answer(q) {
  const path = (q.path ?? []).map(bytes);
  const numbers = (q.numbers ?? []).map(BigInt);
  if (q.kind === "proof") return told(checkProof(bytes(q.data), q.root === undefined ? undefined : bytes(q.root)));
  if (q.kind === "receipt") return told(checkReceipt(bytes(q.data)));
  if (q.kind === "includes") return includes(bytes(q.leaf), ...numbers, path, bytes(q.root));
  if (q.kind === "extends") return extendsPart(...numbers, path, bytes(q.old), bytes(q.root));
  if (q.kind === "extends log") return extendsLog(...numbers, path, bytes(q.old), bytes(q.root));
  throw new Error(`no such question: ${q.kind}`);
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(answer(JSON.parse(line)))}\n`);
}
