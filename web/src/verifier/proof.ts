/** Checking proof files, step by step: the same rules as `meridian proof verify`. */

import { type Bytes, hex, sha256, tagged, toUint, uint, utf8 } from "./bytes.ts";
import { DocumentError, type Leaf, type ProofFile, readProof } from "./document.ts";
import { holds, type Step, Stopped, Trace } from "./steps.ts";
import { committedRoot, count, EMPTY_ROOT, type Lanes, leafNode, sums, TAGS } from "./tree.ts";

const JOB_LAYOUT = "job row 100";
const NODE_LAYOUT = "node row 116";
const LATE_FLAG = 1n;

export interface Checked {
  kind: string;
  network: string;
  epoch: bigint;
  nodeId: string;
  /** What the proof says, in a sentence; empty where it does not hold. */
  statement: string;
  /** The committed or reward root that the steps lead to, in hex; empty where they lead nowhere. */
  root: string;
  /** Claims: all that the report's payees have earned, in atto. */
  total: bigint;
  steps: Step[];
  holds: boolean;
}

interface NodeRow {
  epoch: bigint;
  key: Bytes;
  payee: Bytes;
  jobRoot: Bytes;
}

function nodeRow(row: Bytes): NodeRow {
  return {
    epoch: toUint(row.subarray(4, 8)),
    key: row.subarray(8, 40),
    payee: row.subarray(40, 60),
    jobRoot: row.subarray(60, 116),
  };
}

function jobKey(row: Bytes): Bytes {
  return row.subarray(4, 36);
}

/** Check a proof file; whatever it holds, the answer is a list of steps. */
export function checkProof(text: string): Checked {
  let file: ProofFile;
  try {
    file = readProof(text);
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    const rule = error.field ? `field ${error.field}` : "a proof file";
    const step = { name: "document", rule, value: error.reason, ok: false };
    return {
      kind: "", network: "", epoch: 0n, nodeId: "", statement: "", root: "", total: 0n, steps: [step], holds: false,
    };
  }
  const trace = new Trace();
  try {
    run(trace, file);
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
  }
  const good = holds(trace.steps);
  const root = file.kind === "claim" ? file.rewardRoot : file.root;
  return {
    kind: file.kind,
    network: file.network,
    epoch: file.epoch,
    nodeId: file.nodeId,
    statement: good ? statement(file) : "",
    root: good ? hex(root) : "",
    total: good && file.kind === "claim" ? file.total : 0n,
    steps: trace.steps,
    holds: good,
  };
}

function run(trace: Trace, file: ProofFile): void {
  if (file.kind === "claim") return claim(trace, file);
  if (file.kind === "absent_node") return absentNode(trace, file);
  const row = nodeRow(file.node.row);
  if (file.kind === "job") {
    const rule = `SHA-256 of the id ${JSON.stringify(file.jobId)}, in the job row`;
    trace.equal("job key", rule, sha256(utf8(file.jobId)), jobKey(file.job.row));
    underNode(trace, "", file.job, row, file.lanes);
  } else if (file.kind === "absent_job") {
    absentJob(trace, file, row);
  }
  const rule = `SHA-256 of the id ${JSON.stringify(file.nodeId)}, in the node row`;
  trace.equal("node key", rule, sha256(utf8(file.nodeId)), row.key);
  underRoot(trace, "", file.node, row, file);
}

/** Lead a job row to the job tree of a node's row. */
function underNode(trace: Trace, prefix: string, leaf: Leaf, above: NodeRow, lanes: Lanes): void {
  const digest = tagged(TAGS.jobLeaf, leaf.row);
  trace.hashed(`${prefix}job leaf`, JOB_LAYOUT, TAGS.jobLeaf, digest);
  const name = `${prefix}job tree`;
  const node = leafNode(digest, 1n, leaf.row.subarray(52, 68));
  const top = trace.climb(name, node, leaf.index, leaf.size, leaf.path, TAGS.jobNode, lanes);
  trace.equal(`${prefix}job count`, "the job tree counts its leaves", count(top), leaf.size);
  trace.equal(`${name} root`, "stands in the node row", top, above.jobRoot);
}

interface Asked {
  epoch: bigint;
  lanes: Lanes;
  root: Bytes;
}

/** Lead a node row to the committed root. */
function underRoot(trace: Trace, prefix: string, leaf: Leaf, row: NodeRow, asked: Asked): void {
  trace.equal(`${prefix}epoch`, "in the node row", row.epoch, asked.epoch);
  const digest = tagged(TAGS.nodeLeaf, leaf.row);
  trace.hashed(`${prefix}node leaf`, NODE_LAYOUT, TAGS.nodeLeaf, digest);
  const node = leafNode(digest, toUint(leaf.row.subarray(92, 100)), leaf.row.subarray(100, 116));
  const name = `${prefix}node tree`;
  const top = trace.climb(name, node, leaf.index, leaf.size, leaf.path, TAGS.nodeNode, asked.lanes);
  toRoot(trace, prefix, leaf.size, top, asked);
}

function toRoot(trace: Trace, prefix: string, size: bigint, top: Bytes, asked: Asked): void {
  const root = committedRoot(asked.epoch, size, top);
  const layout = `epoch ${asked.epoch} u64 | nodes ${size} u64 | node tree root 56`;
  trace.hashed(`${prefix}committed root`, layout, TAGS.committedRoot, root);
  trace.equal(`${prefix}root`, "is the one that is asked about", root, asked.root);
}

function absentJob(trace: Trace, file: ProofFile & { kind: "absent_job" }, above: NodeRow): void {
  const key = sha256(utf8(file.jobId));
  trace.hashed("job key", `SHA-256 of the id ${JSON.stringify(file.jobId)}`, null, key);
  between(trace, file.left, file.right, key, jobKey);
  if (file.left !== null) underNode(trace, "left ", file.left, above, file.lanes);
  if (file.right !== null) underNode(trace, "right ", file.right, above, file.lanes);
  if (file.left === null && file.right === null) {
    trace.equal("no jobs", "the node row is over no jobs", above.jobRoot, EMPTY_ROOT);
  }
}

function absentNode(trace: Trace, file: ProofFile & { kind: "absent_node" }): void {
  const key = sha256(utf8(file.nodeId));
  trace.hashed("node key", `SHA-256 of the id ${JSON.stringify(file.nodeId)}`, null, key);
  between(trace, file.left, file.right, key, (row) => nodeRow(row).key);
  if (file.left !== null) underRoot(trace, "left ", file.left, nodeRow(file.left.row), file);
  if (file.right !== null) underRoot(trace, "right ", file.right, nodeRow(file.right.row), file);
  if (file.left === null && file.right === null) toRoot(trace, "", 0n, EMPTY_ROOT, file);
}

/** Check that the key would stand between the neighbours, and that no leaf does. */
function between(
  trace: Trace,
  left: Leaf | null,
  right: Leaf | null,
  key: Bytes,
  keyOf: (row: Bytes) => Bytes,
): void {
  if (left !== null) trace.ascend("left key", "the key before is lower", keyOf(left.row), key);
  if (right !== null) trace.ascend("right key", "the key after is higher", key, keyOf(right.row));
  if (right !== null) {
    const rule = left === null ? "is the first leaf" : "stands directly behind the left leaf";
    trace.equal("neighbours", `the right leaf ${rule}`, right.index, left === null ? 0n : left.index + 1n);
  } else if (left !== null) {
    trace.equal("neighbours", "the left leaf is the last", left.index, left.size - 1n);
  }
}

function claim(trace: Trace, file: ProofFile & { kind: "claim" }): void {
  const rule = `SHA-256 of the id ${JSON.stringify(file.nodeId)}`;
  trace.equal("node key", rule, sha256(utf8(file.nodeId)), file.nodeKey);
  const amount = uint(file.cumulative, 16);
  const digest = tagged(TAGS.claimLeaf, file.nodeKey, file.payee, amount);
  trace.hashed("claim leaf", "node key 32 | payee 20 | cumulative u128", TAGS.claimLeaf, digest);
  const leaf = leafNode(digest, 1n, amount);
  const top = trace.climb("claim tree", leaf, file.index, file.size, file.path, TAGS.claimNode, "u128");
  trace.equal("claim count", "the claim tree counts its leaves", count(top), file.size);
  trace.equal("total", "the claims add up to the report's total", sums(top, "u128")[0] as bigint, file.total);
  const root = tagged(TAGS.rewardRoot, uint(file.size, 8), top);
  trace.hashed("reward root", `claims ${file.size} u64 | claim tree root 56`, TAGS.rewardRoot, root);
  trace.equal("root", "is the one that the file names", root, file.rewardRoot);
}

/** What a file says whose steps hold. */
function statement(file: ProofFile): string {
  const node = `node '${file.nodeId}'`;
  if (file.kind === "claim") {
    return `${node} earned ${file.cumulative} atto in all, payable to 0x${hex(file.payee)}`;
  }
  const where = `in epoch ${file.epoch}`;
  if (file.kind === "absent_node") return `${node} has no job ${where}`;
  const row = nodeRow(file.node.row);
  if (file.kind === "absent_job") {
    return `job '${file.jobId}' is none of the ${count(row.jobRoot)} jobs of ${node} ${where}`;
  }
  if (file.kind === "job") {
    const late = toUint(file.job.row.subarray(2, 4)) & LATE_FLAG ? " (late)" : "";
    return `job '${file.jobId}'${late} is number ${file.job.index + 1n} of the ${file.job.size} jobs of ${node} ${where}`;
  }
  const added = sums(row.jobRoot, file.lanes).join(", ");
  return (
    `${node} has ${count(row.jobRoot)} jobs ${where} (${file.lanes} sums ${added}) under ` +
    `job tree root ${hex(row.jobRoot.subarray(0, 32))}, payee 0x${hex(row.payee)}`
  );
}
