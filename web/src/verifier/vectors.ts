/** The rules of plain logs, asked one by one: outside test vectors have no proof files. */

import { type Bytes, equal, sha256 } from "./bytes.ts";
import { grow } from "./proof.ts";
import { Check, Stopped } from "./steps.ts";
import { TAGS } from "./tree.ts";

function tells(rule: (c: Check) => boolean): boolean {
  try {
    return rule(new Check());
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    return false;
  }
}

function isSubtree(start: bigint, end: bigint): boolean {
  if (start < 0n || start >= end) return false;
  const depth = end - start - 1n === 0n ? 0n : BigInt((end - start - 1n).toString(2).length);
  return start % (1n << depth) === 0n;
}

function wellFormed(...nodes: Bytes[]): boolean {
  return nodes.every((node) => node.length === 32);
}

/** Whether a leaf stands at a place of a log, in the subtree from `start` to before `end` (the whole log: 0 to its size). */
export function includes(leaf: Bytes, index: bigint, start: bigint, end: bigint, path: Bytes[], root: Bytes): boolean {
  if (!isSubtree(start, end) || !wellFormed(leaf, root)) return false;
  const place = { index: index - start, size: end - start, path };
  return tells((c) => equal(c.climb("log tree", leaf, place, TAGS.logNode, null), root));
}

/** Whether a log holds a subtree. */
export function extendsPart(start: bigint, end: bigint, size: bigint, path: Bytes[], old: Bytes, root: Bytes): boolean {
  if (start >= 0n && start === end && end <= size) return path.length === 0 && equal(old, sha256());
  if (start === 0n && end === size) return path.length === 0 && equal(old, root);
  if (!isSubtree(start, end) || end > size || !wellFormed(old, root, ...path)) return false;
  return tells((c) => {
    const [part, whole] = grow(c, { start, end, size, path, old }, "");
    return equal(part, old) && equal(whole, root);
  });
}

/** Whether a log is the beginning of another; that it extends an empty one says nothing, so it is not accepted. */
export function extendsLog(oldSize: bigint, size: bigint, path: Bytes[], old: Bytes, root: Bytes): boolean {
  return oldSize > 0n && extendsPart(0n, oldSize, size, path, old, root);
}
