/** Checking proof files, step by step: the rules and words of `src/meridian/verifier.py`. */

import { type Bytes, concat, hex, sha256, tagged, toUint, uint, utf8 } from "./bytes.ts";
import { decode, type Fields, type Kind, type Leaf, Malformed, type Name, type ProofFile } from "./document.ts";
import { Check, holds, type Step, Stopped } from "./steps.ts";
import { countOf, EMPTY_ROOT, type Lanes, sumsOf, TAGS } from "./tree.ts";

const JOB_ROW = 100;
const NODE_ROW = 116;
const LATE = 1n;

/** What a check of a file gives; whatever the file holds, there are steps. */
export interface Checked {
  /** Null: the bytes are no proof file, and the only step says why. */
  proof: ProofFile | null;
  /** What the proof says if it holds. */
  statement: string;
  /** The root that it names, which must be the one on chain or in the log's checkpoint; in hex. */
  root: string;
  steps: Step[];
  holds: boolean;
}

/** What a rule works with. */
class Rules extends Check {
  constructor(readonly lanes: Lanes) {
    super();
  }

  row(leaf: Leaf, width: number): Bytes {
    if (leaf.row.length !== width) {
      this.refuse("row", "has its form", `${leaf.row.length} bytes where ${width} are needed`);
    }
    return leaf.row;
  }

  /** Lead a job row to the job tree of a node's row. */
  underNode(prefix: string, leaf: Leaf, nodeRow: Bytes): void {
    const row = this.row(leaf, JOB_ROW);
    const parts = [{ label: "job row", data: row }];
    const digest = tagged(TAGS.jobLeaf, row);
    this.hashed(`${prefix}job leaf`, "job row 100", TAGS.jobLeaf, digest, parts);
    const name = `${prefix}job tree`;
    const top = this.climb(name, concat(digest, uint(1n, 8), row.subarray(52, 68)), leaf, TAGS.jobNode, this.lanes);
    this.equal(`${prefix}job count`, "the job tree counts its leaves", countOf(top), leaf.size);
    this.equal(`${name} root`, "stands in the node row", top, nodeRow.subarray(60));
  }

  /** Lead a node row to the committed root. */
  underRoot(prefix: string, leaf: Leaf, epoch: bigint, root: Bytes): void {
    const row = this.row(leaf, NODE_ROW);
    this.equal(`${prefix}epoch`, "in the node row", toUint(row.subarray(4, 8)), epoch);
    const parts = [{ label: "node row", data: row }];
    const digest = tagged(TAGS.nodeLeaf, row);
    this.hashed(`${prefix}node leaf`, "node row 116", TAGS.nodeLeaf, digest, parts);
    const node = concat(digest, row.subarray(92));
    const top = this.climb(`${prefix}node tree`, node, leaf, TAGS.nodeNode, this.lanes);
    this.root(prefix, epoch, leaf.size, top, root);
  }

  root(prefix: string, epoch: bigint, size: bigint, top: Bytes, root: Bytes): void {
    const layout = `epoch ${epoch} u64 | nodes ${size} u64 | node tree root 56`;
    const parts = [
      { label: "epoch", data: uint(epoch, 8) },
      { label: "nodes", data: uint(size, 8) },
      { label: "node tree root", data: top },
    ];
    const found = tagged(TAGS.committedRoot, ...parts.map((part) => part.data));
    this.hashed(`${prefix}committed root`, layout, TAGS.committedRoot, found, parts);
    this.equal(`${prefix}root`, "is the one that is asked about", found, root);
  }

  /** Check that a key would stand between two leaves, and that no leaf does. */
  between(left: Leaf | null, right: Leaf | null, key: Bytes, keyOf: (row: Bytes) => Bytes): void {
    if (left !== null) this.below("left key", "the key before is lower", keyOf(left.row), key);
    if (right !== null) this.below("right key", "the key after is higher", key, keyOf(right.row));
    if (right !== null) {
      const rule = left === null ? "is the first leaf" : "stands directly behind the left leaf";
      this.equal("neighbours", `the right leaf ${rule}`, right.index, left === null ? 0n : left.index + 1n);
    } else if (left !== null) {
      this.equal("neighbours", "the left leaf is the last", left.index, left.size - 1n);
    }
  }

  keyed(name: string, about: Name): Bytes {
    const parts = about.id === null ? [] : [{ label: "id", data: utf8(about.id) }];
    return this.hashed(name, about.rule, null, about.key, parts);
  }
}

const jobKey = (row: Bytes) => row.subarray(4, 36);
const nodeKey = (row: Bytes) => row.subarray(8, 40);

function sides(left: Leaf | null, right: Leaf | null): [string, Leaf][] {
  const both: [string, Leaf | null][] = [["left ", left], ["right ", right]];
  return both.filter((side): side is [string, Leaf] => side[1] !== null);
}

function job(c: Rules, f: Fields["job"]): void {
  const row = c.row(f.job, JOB_ROW);
  const nodeRow = c.row(f.node, NODE_ROW);
  c.equal("job key", `${f.job_id.rule}, in the job row`, f.job_id.key, jobKey(row));
  c.underNode("", f.job, nodeRow);
  node(c, f);
}

function node(c: Rules, f: Fields["node"]): void {
  const row = c.row(f.node, NODE_ROW);
  c.equal("node key", `${f.node_id.rule}, in the node row`, f.node_id.key, nodeKey(row));
  c.underRoot("", f.node, f.epoch, f.committed_root);
}

function absentJob(c: Rules, f: Fields["absent_job"]): void {
  const nodeRow = c.row(f.node, NODE_ROW);
  const key = c.keyed("job key", f.job_id);
  const there = sides(f.left, f.right);
  for (const [, leaf] of there) c.row(leaf, JOB_ROW);
  c.between(f.left, f.right, key, jobKey);
  for (const [side, leaf] of there) c.underNode(side, leaf, nodeRow);
  if (there.length === 0) c.equal("no jobs", "the node row is over no jobs", nodeRow.subarray(60), EMPTY_ROOT);
  node(c, f);
}

function absentNode(c: Rules, f: Fields["absent_node"]): void {
  const key = c.keyed("node key", f.node_id);
  const there = sides(f.left, f.right);
  for (const [, leaf] of there) c.row(leaf, NODE_ROW);
  c.between(f.left, f.right, key, nodeKey);
  for (const [side, leaf] of there) c.underRoot(side, leaf, f.epoch, f.committed_root);
  if (there.length === 0) c.root("", f.epoch, 0n, EMPTY_ROOT, f.committed_root);
}

function claim(c: Rules, f: Fields["claim"]): void {
  const amount = uint(f.cumulative_atto, 16);
  c.keyed("node key", f.node_id);
  const parts = [
    { label: "node key", data: f.node_id.key },
    { label: "payee", data: f.payee },
    { label: "cumulative", data: amount },
  ];
  const digest = tagged(TAGS.claimLeaf, ...parts.map((part) => part.data));
  c.hashed("claim leaf", "node key 32 | payee 20 | cumulative u128", TAGS.claimLeaf, digest, parts);
  const top = c.climb("claim tree", concat(digest, uint(1n, 8), amount), f, TAGS.claimNode, "u128");
  c.equal("claim count", "the claim tree counts its leaves", countOf(top), f.size);
  c.equal("total", "the claims add up to the report's total", sumsOf(top, "u128")[0] as bigint, f.total_atto);
  const last = [
    { label: "claims", data: uint(f.size, 8) },
    { label: "claim tree root", data: top },
  ];
  const root = tagged(TAGS.rewardRoot, ...last.map((part) => part.data));
  c.hashed("reward root", `claims ${f.size} u64 | claim tree root 56`, TAGS.rewardRoot, root, last);
  c.equal("root", "is the one that the file names", root, f.reward_root);
}

function logInclusion(c: Rules, f: Fields["log_inclusion"]): void {
  const { entry } = f;
  c.equal("entry", "begins with the tag of an epoch's record", BigInt(entry[0] as number), BigInt(TAGS.epochRecord));
  const rule = "SHA-256 of 'meridian/network/1:' and the name, in the entry";
  c.equal("network", rule, sha256(utf8(`meridian/network/1:${f.network}`)), entry.subarray(1, 33));
  c.equal("epoch", "in the entry", toUint(entry.subarray(33, 41)), f.epoch);
  const leaf = tagged(TAGS.logLeaf, entry);
  c.hashed("log leaf", "entry 157", TAGS.logLeaf, leaf, [{ label: "entry", data: entry }]);
  const top = c.climb("log tree", leaf, f, TAGS.logNode, null);
  c.equal("root", "is the log root that the file names", top, f.log_root);
}

/** A part of a log, from leaf `start` to before `end`, and a log of `size` leaves that holds it. */
interface Grown {
  start: bigint;
  end: bigint;
  size: bigint;
  path: Bytes[];
  /** Root of the part. */
  old: Bytes;
}

/**
 * The roots of part and whole that one path leads to: RFC 9162 section 2.1.4.2, where the part is the beginning of the
 * log, and draft-ietf-plants-merkle-tree-certs section 4.4.3 for any other subtree.
 */
export function grow(c: Check, { start, end, size, path: rest, old: stated }: Grown, rule: string): [Bytes, Bytes] {
  let first = start;
  let last = end - 1n;
  let top = size - 1n;
  while (first !== last && (last === top || (last & 1n) === 1n)) [first, last, top] = [first >> 1n, last >> 1n, top >> 1n];
  const path = first === last ? [stated, ...rest] : rest; // then the part is one whole subtree of the log
  const begin = path[0];
  if (begin === undefined) c.refuse("log tree", rule, "path: it is shorter than the tree is deep");
  let [old, whole] = [begin, begin];
  for (const [number, sibling] of path.slice(1).entries()) {
    if (top === 0n) c.refuse("log tree", rule, "path: it is longer than the tree is deep");
    const onLeft = (last & 1n) === 1n || last === top;
    const name = `level ${number + 1}`;
    if (onLeft && first < last) old = c.level(`old log, ${name}`, old, sibling, true, TAGS.logNode, null);
    whole = c.level(`log, ${name}`, whole, sibling, onLeft, TAGS.logNode, null);
    while (onLeft && (last & 1n) === 0n && last !== 0n) [first, last, top] = [first >> 1n, last >> 1n, top >> 1n];
    [first, last, top] = [first >> 1n, last >> 1n, top >> 1n];
  }
  c.equal("depth", "the path ends at the root", top, 0n);
  return [old, whole];
}

function logConsistency(c: Rules, f: Fields["log_consistency"]): void {
  const rule = `${f.old_size} of ${f.size} entries, a path of ${f.path.length} nodes`;
  if (f.old_size <= 0n || f.old_size > f.size) {
    c.refuse("sizes", rule, "the older log has at least one entry and no more than the newer");
  }
  if (f.old_size === f.size) c.equal("path", "two equal logs need none", BigInt(f.path.length), 0n);
  // Of two equal logs one leaf alone is left to look at: the root itself.
  const [end, size] = f.old_size === f.size ? [1n, 1n] : [f.old_size, f.size];
  const [old, whole] = grow(c, { start: 0n, end, size, path: f.path, old: f.old_root }, rule);
  c.equal("old root", "is the older log root that the file names", old, f.old_root);
  c.equal("root", "is the newer log root that the file names", whole, f.log_root);
}

const RULES: { [K in Kind]: (c: Rules, f: Fields[K]) => void } = {
  job,
  node,
  absent_job: absentJob,
  absent_node: absentNode,
  claim,
  log_inclusion: logInclusion,
  log_consistency: logConsistency,
};

/** Check a proof: the steps, up to the first that does not hold. With a root: also that it leads to that one. */
export function check(proof: ProofFile, root?: Bytes): Step[] {
  const run = new Rules("lanes" in proof.fields ? proof.fields.lanes : "u128");
  try {
    (RULES[proof.kind] as (c: Rules, f: unknown) => void)(run, proof.fields);
    if (root !== undefined) run.equal("your root", "is the one that was given", rootOf(proof), root);
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
  }
  return run.steps;
}

/** The root that a proof names. */
export function rootOf({ fields }: ProofFile): Bytes {
  if ("committed_root" in fields) return fields.committed_root;
  return "reward_root" in fields ? fields.reward_root : fields.log_root;
}

function counted({ kind, fields: f }: Exclude<ProofFile, { kind: "claim" | "log_inclusion" | "log_consistency" }>): string {
  const [subject, where] = [`node ${f.node_id}`, `in epoch ${f.epoch}`];
  if (kind === "absent_node") return `${subject} has no job ${where}`;
  const { row } = f.node;
  const top = row.subarray(60);
  if (kind === "absent_job") return `job ${f.job_id} is none of the ${countOf(top)} jobs of ${subject} ${where}`;
  if (kind === "job") {
    const late = toUint(f.job.row.subarray(2, 4)) & LATE ? " (late)" : "";
    const number = `number ${f.job.index + 1n} of the ${f.job.size} jobs`;
    return `job ${f.job_id}${late} is ${number} of ${subject} ${where}`;
  }
  const sums = sumsOf(top, f.lanes).join(", ");
  return (
    `${subject} has ${countOf(top)} jobs ${where} (${f.lanes} sums ${sums}) under ` +
    `job tree root ${hex(row.subarray(60, 92))}, payee 0x${hex(row.subarray(40, 60))}`
  );
}

/** What a proof says if it holds. */
export function statement(proof: ProofFile): string {
  if (proof.kind === "log_consistency") {
    const f = proof.fields;
    return (
      `the log of ${f.old_size} entries with root ${hex(f.old_root)} is the beginning ` +
      `of the log of ${f.size} entries with root ${hex(f.log_root)}`
    );
  }
  if (proof.kind === "log_inclusion") {
    const f = proof.fields;
    return (
      `epoch ${f.epoch} is entry ${f.index} of the log of ${f.size} entries: aggregator ` +
      `0x${hex(f.entry.subarray(41, 61))} committed root ${hex(f.entry.subarray(61, 93))}`
    );
  }
  if (proof.kind === "claim") {
    const f = proof.fields;
    return `node ${f.node_id} earned ${f.cumulative_atto} atto in all, payable to 0x${hex(f.payee)}`;
  }
  return counted(proof);
}

/** Check a proof file in either form; whatever it holds, the answer is a list of steps. */
export function checkProof(data: Bytes, root?: Bytes): Checked {
  let proof: ProofFile;
  try {
    proof = decode(data);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    const run = new Check();
    try {
      run.refuse("document", error.field ? `field ${error.field}` : "a proof file", error.reason);
    } catch {
      // The step says it.
    }
    return { proof: null, statement: "", root: "", steps: run.steps, holds: false };
  }
  const steps = check(proof, root);
  return { proof, statement: statement(proof), root: hex(rootOf(proof)), steps, holds: holds(steps) };
}
