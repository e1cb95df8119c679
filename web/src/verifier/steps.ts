/** The steps of checking a proof: what was hashed, climbed and compared. The first that does not hold is the last. */

import { type Bytes, compare, equal, hex } from "./bytes.ts";
import { climb, type Lanes, Refusal, show } from "./tree.ts";

export interface Step {
  name: string;
  /** How it is computed, or what it is compared with. */
  rule: string;
  /** What comes out. */
  value: string;
  ok: boolean;
}

export class Stopped extends Error {}

function text(value: Bytes | bigint): string {
  return typeof value === "bigint" ? value.toString() : hex(value);
}

function tagText(tag: number): string {
  return `0x${tag.toString(16).padStart(2, "0")}`;
}

export class Trace {
  readonly steps: Step[] = [];

  hashed(name: string, layout: string, tag: number | null, digest: Bytes): void {
    const rule = tag === null ? layout : `SHA-256(${tagText(tag)} | ${layout})`;
    this.steps.push({ name, rule, value: hex(digest), ok: true });
  }

  equal(name: string, rule: string, found: Bytes | bigint, stated: Bytes | bigint): void {
    const ok =
      typeof found === "bigint" || typeof stated === "bigint" ? found === stated : equal(found, stated);
    const value = ok ? `${text(found)} as stated` : `${text(found)}, but stated is ${text(stated)}`;
    this.add({ name, rule, value, ok });
  }

  ascend(name: string, rule: string, low: Bytes, high: Bytes): void {
    const ok = compare(low, high) < 0;
    this.add({ name, rule, value: `${hex(low)} ${ok ? "<" : "is not below"} ${hex(high)}`, ok });
  }

  refuse(name: string, rule: string, reason: string): never {
    this.steps.push({ name, rule, value: reason, ok: false });
    throw new Stopped(name);
  }

  climb(
    name: string,
    leaf: Bytes,
    index: bigint,
    size: bigint,
    path: Bytes[],
    tag: number,
    lanes: Lanes,
  ): Bytes {
    let node = leaf;
    try {
      let number = 0;
      for (const level of climb(leaf, index, size, path, tag, lanes)) {
        number += 1;
        node = level.node;
        const side = level.onLeft ? "left" : "right";
        const rule =
          `SHA-256(${tagText(tag)} | left 56 | right 56), ` +
          `sibling ${show(level.sibling, lanes)} on the ${side}`;
        this.steps.push({ name: `${name}, level ${number}`, rule, value: show(node, lanes), ok: true });
      }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.refuse(name, `leaf ${index} of ${size}, a path of ${path.length} nodes`, error.message);
    }
    return node;
  }

  private add(step: Step): void {
    this.steps.push(step);
    if (!step.ok) throw new Stopped(step.name);
  }
}

export function holds(steps: Step[]): boolean {
  return steps.length > 0 && steps.every((step) => step.ok);
}
