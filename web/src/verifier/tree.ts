/**
 * Merkle trees whose nodes carry sums: 32 bytes of hash, a count (u64), and 16 bytes of lanes (two u64, or one u128).
 *
 * A parent hashes both children with their sums. The shape is that of RFC 9162, section 2.1.1.
 */

import { type Bytes, concat, equal, hex, sha256, tagged, toUint, uint } from "./bytes.ts";

export const TAGS = {
  jobLeaf: 0x02,
  jobNode: 0x03,
  nodeLeaf: 0x04,
  nodeNode: 0x05,
  claimLeaf: 0x06,
  claimNode: 0x07,
  batchLeaf: 0x0c,
  batchNode: 0x0d,
  committedRoot: 0x12,
  rewardRoot: 0x13,
} as const;

export type Lanes = "pair_u64" | "u128";

export const NODE_BYTES = 56;
export const PATH_MAX = 64;
export const EMPTY_ROOT: Bytes = concat(sha256(), new Uint8Array(24));

export class Refusal extends Error {}

export interface Level {
  sibling: Bytes;
  onLeft: boolean;
  node: Bytes;
}

export function count(node: Bytes): bigint {
  return toUint(node.subarray(32, 40));
}

export function sums(node: Bytes, lanes: Lanes): bigint[] {
  const own = node.subarray(40, 56);
  return lanes === "u128" ? [toUint(own)] : [toUint(own.subarray(0, 8)), toUint(own.subarray(8))];
}

export function leafNode(digest: Bytes, number: bigint, lanes: Bytes): Bytes {
  return concat(digest, uint(number, 8), lanes);
}

export function combine(tag: number, left: Bytes, right: Bytes, lanes: Lanes): Bytes {
  const width = lanes === "u128" ? 16 : 8;
  const total = count(left) + count(right);
  if (total >> 64n) throw new Refusal("count: the sum passes 64 bits");
  const others = sums(right, lanes);
  const added = sums(left, lanes).map((sum, at) => sum + (others[at] as bigint));
  if (added.some((sum) => sum >> BigInt(8 * width))) {
    throw new Refusal(`lanes: [${added.join(", ")}] does not fit in ${8 * width} bits each`);
  }
  return leafNode(tagged(tag, left, right), total, concat(...added.map((sum) => uint(sum, width))));
}

/** Each level that a leaf and its path imply (RFC 9162, section 2.1.3.2); throws `Refusal` where the path cannot be that. */
export function* climb(
  leaf: Bytes,
  index: bigint,
  size: bigint,
  path: Bytes[],
  tag: number,
  lanes: Lanes,
): Generator<Level> {
  if (index < 0n || index >= size) throw new Refusal(`index: ${index} is outside a tree of ${size} leaves`);
  if (path.length > PATH_MAX || path.some((node) => node.length !== NODE_BYTES)) {
    throw new Refusal("path: the nodes do not have the form of this tree");
  }
  let node = leaf;
  let at = index;
  let last = size - 1n;
  for (const sibling of path) {
    if (last === 0n) throw new Refusal("path: it is longer than the tree is deep");
    const onLeft = (at & 1n) === 1n || at === last;
    if (onLeft) {
      node = combine(tag, sibling, node, lanes);
      while ((at & 1n) === 0n && at !== 0n) {
        at >>= 1n;
        last >>= 1n;
      }
    } else {
      node = combine(tag, node, sibling, lanes);
    }
    yield { sibling, onLeft, node };
    at >>= 1n;
    last >>= 1n;
  }
  if (last !== 0n) throw new Refusal("path: it is shorter than the tree is deep");
}

/** The root node over leaf nodes, built from nothing else. */
export function rootOf(leaves: Bytes[], tag: number, lanes: Lanes): Bytes {
  if (leaves.length === 0) return EMPTY_ROOT;
  let level = leaves;
  while (level.length > 1) {
    const above: Bytes[] = [];
    for (let at = 0; at + 1 < level.length; at += 2) {
      above.push(combine(tag, level[at] as Bytes, level[at + 1] as Bytes, lanes));
    }
    if (level.length % 2) above.push(level[level.length - 1] as Bytes);
    level = above;
  }
  return level[0] as Bytes;
}

export function committedRoot(epoch: bigint, nodes: bigint, top: Bytes): Bytes {
  return tagged(TAGS.committedRoot, uint(epoch, 8), uint(nodes, 8), top);
}

export function show(node: Bytes, lanes: Lanes): string {
  return `${hex(node.subarray(0, 32))} (count ${count(node)}, sums ${sums(node, lanes).join(", ")})`;
}

export { equal };
