/** Looking things up by name: nodes by id, key and address, jobs by id. */

import { sha256, utf8 } from "../verifier/bytes.ts";
import { firstNotBefore, fromHex, order, shardFile, shardOf, toAddress, toHex } from "./bytes.ts";
import { addressOf } from "./fil_address.ts";
import type { Files } from "./files.ts";
import { openIndex } from "./layout.ts";
import type * as T from "./types.ts";

export const FOUND_MAX = 50;

export interface KnownNode extends T.FoundNode {
  claimed: bigint;
}

/** A node by its key; null: the site has none. */
export async function nodeByKey(files: Files, key: Uint8Array): Promise<KnownNode | null> {
  const { nodes } = await openIndex(files);
  const file = await files.columns(shardFile("data/index/nodes", shardOf(key, nodes.shards)));
  if (file === null) return null;
  const keys = file.fixed("key");
  const row = firstNotBefore(keys.length, key, keys.row);
  if (row >= keys.length || order(keys.row(row), key) !== 0) return null;
  return {
    id: file.texts("id").text(row),
    key: toHex(key),
    operator: toAddress(file.fixed("operator").row(row)),
    payee: toAddress(file.fixed("payee").row(row)),
    firstEpoch: file.numbers("first_epoch").number(row) ?? 0,
    lastEpoch: file.numbers("last_epoch").number(row) ?? 0,
    claimed: file.numbers("claimed").big(row) ?? 0n,
  };
}

async function keysOfAddress(files: Files, address: Uint8Array): Promise<Uint8Array[]> {
  const { addresses } = await openIndex(files);
  const file = await files.columns(shardFile("data/index/addresses", shardOf(address, addresses.shards)));
  if (file === null) return [];
  const [all, keys] = [file.fixed("address"), file.fixed("key")];
  const found = [];
  for (let row = firstNotBefore(all.length, address, all.row); row < all.length && found.length < FOUND_MAX; row++) {
    if (order(all.row(row), address) !== 0) break;
    found.push(keys.row(row));
  }
  return found;
}

function shown({ claimed: _, ...node }: KnownNode): T.FoundNode {
  return node;
}

/** Nodes by id, by key, or by an address of theirs in any letter case and form. */
export async function findNodes(files: Files, query: string): Promise<T.FoundNode[]> {
  const text = query.trim();
  if (text === "") return [];
  if (/^(0x)?[0-9a-f]{64}$/i.test(text)) {
    const node = await nodeByKey(files, fromHex(text.slice(-64)));
    if (node !== null) return [shown(node)];
  }
  const keys = [sha256(utf8(text))];
  const address = addressOf(text);
  if (address !== null) keys.push(...(await keysOfAddress(files, address)));
  const found = new Map<string, T.FoundNode>();
  for (const key of keys.slice(0, FOUND_MAX)) {
    const node = await nodeByKey(files, key);
    if (node !== null) found.set(node.key, shown(node));
  }
  return [...found.values()];
}

export interface JobPlace {
  epoch: number;
  place: number;
  index: number;
}

/** Where jobs with this id may be: every hint of the index, newest epoch first. */
export async function jobPlaces(files: Files, jobId: string): Promise<JobPlace[]> {
  const { jobs } = await openIndex(files);
  const head = sha256(utf8(jobId)).subarray(0, 8);
  const wanted = new DataView(head.buffer, head.byteOffset, 8).getBigUint64(0);
  const found: JobPlace[] = [];
  for (const run of jobs) {
    const shard = run.shards === 1 ? 0 : Number(wanted >> BigInt(64 - Math.log2(run.shards)));
    const file = await files.columns(shardFile(`data/index/jobs/${run.name}`, shard));
    if (file === null) continue;
    const hashes = file.numbers("hash");
    let [low, high] = [0, hashes.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((hashes.big(middle) as bigint) < wanted) low = middle + 1;
      else high = middle;
    }
    for (; low < hashes.length && hashes.big(low) === wanted; low++) {
      const at = (name: string) => file.numbers(name).number(low) ?? 0;
      found.push({ epoch: at("epoch"), place: at("node"), index: at("index") });
    }
  }
  return found.sort((a, b) => b.epoch - a.epoch || a.place - b.place);
}
