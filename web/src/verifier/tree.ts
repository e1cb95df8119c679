/** Trees whose nodes carry checked sums: 56 bytes, a hash, a count (u64) and 16 bytes of sums; or plain hashes. */

import { type Bytes, concat, hex, sha256, tagged, toUint, uint } from "./bytes.ts";

/** The first byte of whatever is hashed says what it is. */
export const TAGS = {
  logLeaf: 0x00,
  logNode: 0x01,
  jobLeaf: 0x02,
  jobNode: 0x03,
  nodeLeaf: 0x04,
  nodeNode: 0x05,
  claimLeaf: 0x06,
  claimNode: 0x07,
  committedRoot: 0x12,
  rewardRoot: 0x13,
  epochRecord: 0x15,
} as const;

export const LANES = ["pair_u64", "u128"] as const;
/** What the 16 bytes of sums are: two u64, or one u128. */
export type Lanes = (typeof LANES)[number];

export const HASH_BYTES = 32;
export const NODE_BYTES = 56;
export const PATH_MAX = 64;
/** Numbers are below it. */
export const NUMBER_END = 1n << 63n;
/** The root node of a tree without leaves. */
export const EMPTY_ROOT: Bytes = concat(sha256(), new Uint8Array(24));
/** Bits of a sum of two annotations into which nothing may be carried. */
const CARRIES: { [lanes in Lanes]: bigint } = {
  pair_u64: (1n << 192n) | (1n << 128n) | (1n << 64n),
  u128: (1n << 192n) | (1n << 128n),
};

/** The sums of two nodes do not fit: no such tree exists. */
export class Overflow extends Error {}

export function countOf(node: Bytes): bigint {
  return toUint(node.subarray(32, 40));
}

export function sumsOf(node: Bytes, lanes: Lanes): bigint[] {
  const own = node.subarray(40, 56);
  return lanes === "u128" ? [toUint(own)] : [toUint(own.subarray(0, 8)), toUint(own.subarray(8))];
}

/** Count and sums in words; nothing for nodes that carry none. */
export function sumsText(node: Bytes, lanes: Lanes | null): string {
  return lanes === null ? "" : ` (count ${countOf(node)}, sums ${sumsOf(node, lanes).join(", ")})`;
}

/** A node in words. */
export function nodeText(node: Bytes, lanes: Lanes | null): string {
  return hex(node.subarray(0, HASH_BYTES)) + sumsText(node, lanes);
}

/** The parent of two nodes: its hash is over both, with their sums; its sums are theirs added. */
export function parent(tag: number, left: Bytes, right: Bytes, lanes: Lanes | null): Bytes {
  const digest = tagged(tag, left, right);
  if (lanes === null) return digest;
  const a = toUint(left.subarray(HASH_BYTES));
  const b = toUint(right.subarray(HASH_BYTES));
  const carries = a ^ b ^ (a + b); // each at the bit that it enters
  if (carries & CARRIES[lanes]) throw new Overflow("sum: it does not fit: no such tree exists");
  return concat(digest, uint(a + b, 24));
}
