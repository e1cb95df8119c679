/** The steps of a check: what was hashed, climbed and compared. The first that does not hold is the last. */

import { type Bytes, compare, equal, hex } from "./bytes.ts";
import { type Lanes, NUMBER_END, nodeText, Overflow, PATH_MAX, parent } from "./tree.ts";

/** Something that goes into a step. */
export interface Part {
  label: string;
  data: Bytes;
}

export interface Step {
  name: string;
  how: "hash" | "climb" | "equal" | "below" | "form";
  /** What was computed, or compared. */
  rule: string;
  /** What came out. */
  value: string;
  ok: boolean;
  /** Of hashes: the tag in front, null where there is none, and the parts behind it. */
  tag: number | null;
  parts: Part[];
  /** Of hashes: what came out, a digest or a node with its sums. */
  result: Bytes | null;
  /** Of climbs: how the sums of nodes are read; null: they have none. */
  lanes: Lanes | null;
  /** Of comparisons: what was found and what it must be. */
  compared: [string, string] | null;
}

/** The last step does not hold; nothing after it would mean anything. */
export class Stopped extends Error {}

const PLAIN = { ok: true, tag: null, parts: [], result: null, lanes: null, compared: null };

function text(value: Bytes | bigint): string {
  return typeof value === "bigint" ? value.toString() : hex(value);
}

export function tagText(tag: number): string {
  return `0x${tag.toString(16).padStart(2, "0")}`;
}

function same(a: Bytes | bigint, b: Bytes | bigint): boolean {
  return typeof a === "bigint" || typeof b === "bigint" ? a === b : equal(a, b);
}

/** A node, its place, and its siblings up to the root. */
export interface Place {
  index: bigint;
  size: bigint;
  path: Bytes[];
}

export class Check {
  readonly steps: Step[] = [];

  hashed(name: string, layout: string, tag: number | null, digest: Bytes, parts: Part[]): Bytes {
    const rule = tag === null ? layout : `SHA-256(${tagText(tag)} | ${layout})`;
    this.steps.push({ ...PLAIN, name, how: "hash", rule, value: hex(digest), tag, parts, result: digest });
    return digest;
  }

  equal(name: string, rule: string, found: Bytes | bigint, stated: Bytes | bigint): void {
    const ok = same(found, stated);
    const [one, other] = [text(found), text(stated)];
    const value = ok ? `${one} as stated` : `${one}, but stated is ${other}`;
    this.require({ ...PLAIN, name, how: "equal", rule, value, ok, compared: [one, other] });
  }

  below(name: string, rule: string, low: Bytes, high: Bytes): void {
    const ok = compare(low, high) < 0;
    const [one, other] = [hex(low), hex(high)];
    const value = `${one} ${ok ? "<" : "is not below"} ${other}`;
    this.require({ ...PLAIN, name, how: "below", rule, value, ok, compared: [one, other] });
  }

  refuse(name: string, rule: string, reason: string): never {
    this.steps.push({ ...PLAIN, name, how: "form", rule, value: reason, ok: false });
    throw new Stopped(name);
  }

  /** One level of a path: the parent of a node and its sibling. */
  level(name: string, node: Bytes, sibling: Bytes, onLeft: boolean, tag: number, lanes: Lanes | null): Bytes {
    const [left, right] = onLeft ? [sibling, node] : [node, sibling];
    const result = parent(tag, left, right, lanes);
    const width = sibling.length;
    const head = `SHA-256(${tagText(tag)} | left ${width} | right ${width})`;
    const rule = `${head}, sibling ${nodeText(sibling, lanes)} on the ${onLeft ? "left" : "right"}`;
    const parts = [
      { label: onLeft ? "left, from the proof" : "left, from the step before", data: left },
      { label: onLeft ? "right, from the step before" : "right, from the proof", data: right },
    ];
    const value = nodeText(result, lanes);
    this.steps.push({ ...PLAIN, name, how: "climb", rule, value, tag, parts, result, lanes });
    return result;
  }

  /** The root node that a leaf's node and its path imply (RFC 9162 section 2.1.3.2). */
  climb(name: string, leaf: Bytes, place: Place, tag: number, lanes: Lanes | null): Bytes {
    const { index, size, path } = place;
    const rule = `leaf ${index} of ${size}, a path of ${path.length} nodes`;
    if (index < 0n || index >= size || size >= NUMBER_END) {
      this.refuse(name, rule, `index: ${index} is outside a tree of ${size} leaves`);
    }
    if (path.length > PATH_MAX || path.some((sibling) => sibling.length !== leaf.length)) {
      this.refuse(name, rule, "path: the nodes do not have the form of this tree");
    }
    let node = leaf;
    let at = index;
    let last = size - 1n;
    for (const [number, sibling] of path.entries()) {
      if (last === 0n) this.refuse(name, rule, "path: it is longer than the tree is deep");
      const onLeft = (at & 1n) === 1n || at === last;
      try {
        node = this.level(`${name}, level ${number + 1}`, node, sibling, onLeft, tag, lanes);
      } catch (error) {
        if (!(error instanceof Overflow)) throw error;
        this.refuse(name, rule, error.message);
      }
      // An odd last node was promoted: it has no sibling on these levels.
      while (onLeft && (at & 1n) === 0n && at !== 0n) [at, last] = [at >> 1n, last >> 1n];
      [at, last] = [at >> 1n, last >> 1n];
    }
    if (last !== 0n) this.refuse(name, rule, "path: it is shorter than the tree is deep");
    return node;
  }

  private require(step: Step): void {
    this.steps.push(step);
    if (!step.ok) throw new Stopped(step.name);
  }
}

/** Whether a check went through. */
export function holds(steps: readonly Step[]): boolean {
  return steps.length > 0 && steps.every((step) => step.ok);
}
