/** Reading a proof file: one value has one spelling, and a file cannot carry anything that is not checked. */

import { type Bytes, equal, sha256, unhex, utf8 } from "./bytes.ts";
import { type Json, JsonError, parseJson } from "./json.ts";
import { type Lanes, NODE_BYTES, PATH_MAX } from "./tree.ts";

export const FILE_BYTES_MAX = 1 << 20;
export const JOB_ROW_BYTES = 100;
export const NODE_ROW_BYTES = 116;

export class DocumentError extends Error {
  constructor(
    readonly field: string,
    readonly reason: string,
  ) {
    super(field ? `${field}: ${reason}` : reason);
  }
}

export interface Leaf {
  row: Bytes;
  index: bigint;
  size: bigint;
  path: Bytes[];
}

export interface Head {
  network: string;
  epoch: bigint;
  nodeId: string;
}

export interface Counted extends Head {
  lanes: Lanes;
  root: Bytes;
}

export type ProofFile =
  | (Counted & { kind: "job"; jobId: string; job: Leaf; node: Leaf })
  | (Counted & { kind: "node"; node: Leaf })
  | (Counted & { kind: "absent_job"; jobId: string; left: Leaf | null; right: Leaf | null; node: Leaf })
  | (Counted & { kind: "absent_node"; left: Leaf | null; right: Leaf | null })
  | (Head & {
      kind: "claim";
      nodeKey: Bytes;
      payee: Bytes;
      cumulative: bigint;
      index: bigint;
      size: bigint;
      path: Bytes[];
      total: bigint;
      rewardRoot: Bytes;
    });

type Document = { [key: string]: Json };

const COMMON = ["meridian_proof", "kind", "network", "epoch", "node_id"];
const KEYS: { [kind: string]: string[] } = {
  job: ["lanes", "job_id", "job", "node", "committed_root"],
  node: ["lanes", "node", "committed_root"],
  absent_job: ["lanes", "job_id", "job_key", "left", "right", "node", "committed_root"],
  absent_node: ["lanes", "node_key", "left", "right", "committed_root"],
  claim: ["node_key", "payee", "cumulative_atto", "index", "size", "path", "total_atto", "reward_root"],
};
const LEAF_KEYS = ["row", "index", "size", "path"];

/** Read a proof file; throws `DocumentError` with the key that is not acceptable. */
export function readProof(text: string): ProofFile {
  if (utf8(text).length > FILE_BYTES_MAX) throw new DocumentError("", `it is longer than ${FILE_BYTES_MAX} bytes`);
  let value: Json;
  try {
    value = parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new DocumentError("", `it is not JSON: ${error.message}`);
  }
  if (!isObject(value)) throw new DocumentError("", "it is not a JSON object");
  if (value["meridian_proof"] !== 1n) throw new DocumentError("meridian_proof", "is not 1");
  const reader = new Reader(value, "");
  const kind = reader.text("kind");
  const keys = KEYS[kind];
  if (keys === undefined) {
    throw new DocumentError("kind", `${JSON.stringify(kind)} is none of ${Object.keys(KEYS).join(", ")}`);
  }
  reader.only([...COMMON, ...keys]);
  return kind === "claim" ? claim(reader) : counted(kind, reader);
}

function isObject(value: Json | undefined): value is Document {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function head(reader: Reader): Head {
  return { network: reader.text("network"), epoch: reader.number("epoch"), nodeId: reader.text("node_id") };
}

function counted(kind: string, reader: Reader): ProofFile {
  const about: Counted = { ...head(reader), lanes: reader.lanes(), root: reader.hex("committed_root", 32) };
  if (kind === "node") return { ...about, kind, node: reader.leaf("node", NODE_ROW_BYTES) };
  if (kind === "absent_node") {
    reader.key("node_key", about.nodeId);
    return { ...about, kind, ...reader.neighbours(NODE_ROW_BYTES) };
  }
  const jobId = reader.text("job_id");
  const node = reader.leaf("node", NODE_ROW_BYTES);
  if (kind === "job") return { ...about, kind, jobId, job: reader.leaf("job", JOB_ROW_BYTES), node };
  reader.key("job_key", jobId);
  return { ...about, kind: "absent_job", jobId, ...reader.neighbours(JOB_ROW_BYTES), node };
}

function claim(reader: Reader): ProofFile {
  return {
    ...head(reader),
    kind: "claim",
    nodeKey: reader.hex("node_key", 32),
    payee: reader.address("payee"),
    cumulative: reader.amount("cumulative_atto"),
    index: reader.number("index"),
    size: reader.number("size"),
    path: reader.path(),
    total: reader.amount("total_atto"),
    rewardRoot: reader.hex("reward_root", 32),
  };
}

class Reader {
  constructor(
    private readonly document: Document,
    private readonly prefix: string,
  ) {}

  only(keys: string[]): void {
    const other = Object.keys(this.document).find((key) => !keys.includes(key));
    if (other !== undefined) throw new DocumentError("", "it holds more than a proof, or spells it in another way");
  }

  text(name: string): string {
    const value = this.get(name);
    if (typeof value !== "string") this.refuse(name, "is not text");
    if (!value.isWellFormed()) this.refuse(name, "is not Unicode text");
    return value;
  }

  number(name: string): bigint {
    const value = this.get(name);
    if (typeof value !== "bigint" || value < 0n || value >> 63n) this.refuse(name, "is not a number in 0..2^63");
    return value;
  }

  amount(name: string): bigint {
    const digits = this.text(name);
    if (!/^[0-9]{1,39}$/.test(digits)) this.refuse(name, "is not decimal digits");
    const value = BigInt(digits);
    if (value >> 128n) this.refuse(name, "does not fit in 128 bits");
    if (value.toString() !== digits) this.spelling();
    return value;
  }

  hex(name: string, width: number): Bytes {
    return this.hexOf(name, this.get(name), width);
  }

  key(name: string, id: string): void {
    if (!equal(this.hex(name, 32), sha256(utf8(id)))) this.refuse(name, "is not the SHA-256 of the id");
  }

  address(name: string): Bytes {
    const value = this.text(name);
    const found = value.startsWith("0x") ? unhex(value.slice(2), 20) : null;
    if (found === null) this.refuse(name, "is not an address of 20 bytes");
    if (value !== value.toLowerCase()) this.spelling();
    return found;
  }

  path(): Bytes[] {
    const value = this.get("path");
    if (!Array.isArray(value) || value.length > PATH_MAX) {
      this.refuse("path", `is not a list of at most ${PATH_MAX} nodes`);
    }
    return value.map((item) => this.hexOf("path", item, NODE_BYTES));
  }

  lanes(): Lanes {
    const name = this.text("lanes");
    if (name !== "pair_u64" && name !== "u128") this.refuse("lanes", `${JSON.stringify(name)} is no kind of lanes`);
    return name;
  }

  leaf(name: string, width: number): Leaf {
    const value = this.get(name);
    if (!isObject(value)) this.refuse(name, "is not an object");
    const inner = new Reader(value, `${this.prefix}${name}.`);
    inner.only(LEAF_KEYS);
    return { row: inner.hex("row", width), index: inner.number("index"), size: inner.number("size"), path: inner.path() };
  }

  neighbours(width: number): { left: Leaf | null; right: Leaf | null } {
    return {
      left: this.get("left") === null ? null : this.leaf("left", width),
      right: this.get("right") === null ? null : this.leaf("right", width),
    };
  }

  private hexOf(name: string, value: Json, width: number): Bytes {
    const found = unhex(value, width);
    if (found === null) this.refuse(name, `is not ${width} bytes of hex`);
    if (value !== (value as string).toLowerCase()) this.spelling();
    return found;
  }

  private get(name: string): Json {
    const value = this.document[name];
    if (value === undefined) this.refuse(name, "is missing");
    return value;
  }

  private spelling(): never {
    throw new DocumentError("", "it holds more than a proof, or spells it in another way");
  }

  private refuse(name: string, reason: string): never {
    throw new DocumentError(this.prefix + name, reason);
  }
}
