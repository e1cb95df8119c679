/** Proofs of the epoch log (L0): RFC 6962, verified as RFC 9162, sections 2.1.3.2 and 2.1.4.2, say. */

import { type Bytes, equal, tagged } from "./bytes.ts";

export function leafHash(entry: Bytes): Bytes {
  return tagged(0x00, entry);
}

function parent(left: Bytes, right: Bytes): Bytes {
  return tagged(0x01, left, right);
}

function wellFormed(...nodes: Bytes[]): boolean {
  return nodes.every((node) => node.length === 32);
}

/** Whether a leaf stands at a place of a tree of that size and root. */
export function verifyInclusion(leaf: Bytes, index: bigint, size: bigint, path: Bytes[], root: Bytes): boolean {
  if (index < 0n || index >= size || !wellFormed(leaf, root, ...path)) return false;
  let at = index;
  let last = size - 1n;
  let node = leaf;
  for (const sibling of path) {
    if (last === 0n) return false;
    if ((at & 1n) === 1n || at === last) {
      node = parent(sibling, node);
      while ((at & 1n) === 0n && at !== 0n) {
        at >>= 1n;
        last >>= 1n;
      }
    } else {
      node = parent(node, sibling);
    }
    at >>= 1n;
    last >>= 1n;
  }
  return last === 0n && equal(node, root);
}

/** Whether the tree of the first size is the beginning of the tree of the second. */
export function verifyConsistency(
  first: bigint,
  second: bigint,
  path: Bytes[],
  firstRoot: Bytes,
  secondRoot: Bytes,
): boolean {
  // Consistency with an empty tree says nothing, so it is not accepted as a proof.
  if (first <= 0n || first > second) return false;
  if (first === second) return path.length === 0 && equal(firstRoot, secondRoot);
  if (!wellFormed(firstRoot, secondRoot, ...path)) return false;
  let at = first - 1n;
  let last = second - 1n;
  while ((at & 1n) === 1n) {
    at >>= 1n;
    last >>= 1n;
  }
  const nodes = at === 0n ? [firstRoot, ...path] : path;
  const begin = nodes[0];
  if (begin === undefined) return false;
  let one = begin;
  let two = begin;
  for (const sibling of nodes.slice(1)) {
    if (last === 0n) return false;
    if ((at & 1n) === 1n || at === last) {
      one = parent(sibling, one);
      two = parent(sibling, two);
      while ((at & 1n) === 0n && at !== 0n) {
        at >>= 1n;
        last >>= 1n;
      }
    } else {
      two = parent(two, sibling);
    }
    at >>= 1n;
    last >>= 1n;
  }
  return last === 0n && equal(one, firstRoot) && equal(two, secondRoot);
}
