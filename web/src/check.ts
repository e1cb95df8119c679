/**
 * The verifier on the command line, for tests: one JSON object on each line of standard input, one answer on each line
 * of standard output. The same code runs in the page.
 */

import { createInterface } from "node:readline";

import { unhex } from "./verifier/bytes.ts";
import { checkProof } from "./verifier/proof.ts";
import { verifyConsistency, verifyInclusion } from "./verifier/rfc6962.ts";

interface Question {
  kind: "proof" | "inclusion" | "consistency";
  text?: string;
  leaf?: string;
  first?: string;
  second?: string;
  path?: string[];
  firstRoot?: string;
  secondRoot?: string;
}

function bytes(text: string | undefined): Uint8Array {
  const found = unhex(text ?? "", (text ?? "").length / 2);
  if (found === null) throw new Error(`not hex: ${text}`);
  return found;
}

function answer(question: Question): unknown {
  if (question.kind === "proof") {
    const { holds, statement, root, kind, steps } = checkProof(question.text ?? "");
    return { holds, statement, root, kind, steps: steps.map((step) => [step.name, step.value, step.ok]) };
  }
  const path = (question.path ?? []).map(bytes);
  const first = BigInt(question.first ?? "0");
  const second = BigInt(question.second ?? "0");
  const root = bytes(question.secondRoot);
  if (question.kind === "inclusion") return verifyInclusion(bytes(question.leaf), first, second, path, root);
  return verifyConsistency(first, second, path, bytes(question.firstRoot), root);
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(answer(JSON.parse(line) as Question))}\n`);
}
