/** Plays a wallet for the page's side of EIP-1193: what it answers is in the question, what it was asked is in the answer. */

import { createInterface } from "node:readline";

const provider = await import(process.argv[2]);

/** A wallet that gives its next answer each time: `{"result"}`, or `{"error"}` as wallets throw it; the last one for ever. */
function walletOf(script) {
  const asked = [];
  const request = async ({ method, params }) => {
    asked.push([method, ...(params ?? [])]);
    const answers = script[method] ?? [{ error: { code: -32601, message: "no such method" } }];
    const { result, error } = answers.length > 1 ? answers.shift() : answers[0];
    if (error !== undefined) throw Object.assign(new Error(error.message), error);
    return result ?? null;
  };
  return { request, asked };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { does, wallet: script, given, reached } = JSON.parse(line);
  const wallet = walletOf(script);
  const following = { stopped: () => false, reached: async () => reached, sleep: async () => undefined };
  let told;
  try {
    told = await provider[does](wallet, ...given, ...(does === "follow" ? [following] : []));
  } catch (error) {
    if (!(error instanceof provider.WalletError)) throw error;
    told = { refused: error.message };
  }
  const text = JSON.stringify({ told, asked: wallet.asked }, (_, value) => (typeof value === "bigint" ? Number(value) : value));
  process.stdout.write(`${text}\n`);
}
