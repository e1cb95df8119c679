/** The two forms of a proof file, JSON and binary: one value has one spelling, and nothing that is not checked fits in. */

import { type Bytes, concat, equal, fromUtf8, hex, quoted, sha256, toUint, uint, unhex, utf8 } from "./bytes.ts";
import { isObject, type Json, JsonError, type JsonObject, parseJson } from "./json.ts";
import { HASH_BYTES, LANES, type Lanes, NODE_BYTES, NUMBER_END, PATH_MAX } from "./tree.ts";

export const FILE_BYTES_MAX = 1 << 20;
const TEXT_BYTES_MAX = (1 << 16) - 1;
const BRACKETS_MAX = 512;
const VERSION = 1n;
/** The first bytes of a binary proof: MPF, and the version. */
export const MAGIC: Bytes = Uint8Array.of(0x4d, 0x50, 0x46, Number(VERSION));

/** A file is not a proof; `field` says where. */
export class Malformed extends Error {
  constructor(
    readonly field: string,
    readonly reason: string,
  ) {
    super(field ? `${field}: ${reason}` : reason);
  }
}

/** A node or job that a proof is about: its key, and its id unless it was asked for by the key. */
export class Name {
  private constructor(
    readonly key: Bytes,
    readonly id: string | null,
  ) {}

  static of(text: string): Name {
    return new Name(sha256(utf8(text)), text);
  }

  static byKey(key: Bytes): Name {
    return new Name(key, null);
  }

  toString(): string {
    return this.id === null ? `with key ${hex(this.key)}` : quoted(this.id);
  }

  /** Where the key comes from. */
  get rule(): string {
    return this.id === null ? "the key that is asked about" : `SHA-256 of the id ${quoted(this.id)}`;
  }
}

/** A row, its place in its tree, and its siblings up to the root. */
export interface Leaf {
  row: Bytes;
  index: bigint;
  size: bigint;
  path: Bytes[];
}

interface Head {
  network: string;
  epoch: bigint;
}
interface Counted extends Head {
  node_id: Name;
  lanes: Lanes;
  committed_root: Bytes;
}
interface Gap {
  left: Leaf | null;
  right: Leaf | null;
}

/** The fields of each kind, as `KINDS` lists them. */
export interface Fields {
  job: Counted & { job_id: Name; job: Leaf; node: Leaf };
  node: Counted & { node: Leaf };
  absent_job: Counted & Gap & { job_id: Name; node: Leaf };
  absent_node: Counted & Gap;
  claim: Head & {
    node_id: Name;
    payee: Bytes;
    cumulative_atto: bigint;
    index: bigint;
    size: bigint;
    path: Bytes[];
    total_atto: bigint;
    reward_root: Bytes;
  };
  log_inclusion: Head & { index: bigint; size: bigint; entry: Bytes; path: Bytes[]; log_root: Bytes };
  log_consistency: { network: string; old_size: bigint; size: bigint; old_root: Bytes; path: Bytes[]; log_root: Bytes };
}
export type Kind = keyof Fields;
export type ProofFile = { [K in Kind]: { kind: K; fields: Fields[K] } }[Kind];

/** The fields of each kind: name, form, bytes; in the order of the binary form. */
const KINDS: { [kind in Kind]: string } = {
  job: "network text, epoch number, node_id name, job_id name, lanes lanes, job leaf 100, node leaf 116, committed_root data 32",
  node: "network text, epoch number, node_id name, lanes lanes, node leaf 116, committed_root data 32",
  absent_job:
    "network text, epoch number, node_id name, job_id both, lanes lanes, left maybe 100, right maybe 100, node leaf 116, committed_root data 32",
  absent_node:
    "network text, epoch number, node_id both, lanes lanes, left maybe 116, right maybe 116, committed_root data 32",
  claim:
    "network text, epoch number, node_id both, payee address, cumulative_atto amount, index number, size number, path path 56, total_atto amount, reward_root data 32",
  log_inclusion:
    "network text, epoch number, index number, size number, entry data 157, path path 32, log_root data 32",
  log_consistency: "network text, old_size number, size number, old_root data 32, path path 32, log_root data 32",
};
const NAMES = Object.keys(KINDS) as Kind[];

type Form = "text" | "number" | "name" | "both" | "lanes" | "leaf" | "maybe" | "data" | "path" | "address" | "amount";
type Value = string | bigint | Name | Leaf | null | Bytes | Bytes[];

function fieldsOf(kind: Kind): [string, Form, number][] {
  return KINDS[kind].split(", ").map((field) => {
    const [name, form, width] = field.split(" ") as [string, Form, string | undefined];
    return [name, form, Number(width ?? 0)];
  });
}

/** Reads the binary form; whatever is not there or has another spelling is refused. */
class Reader {
  private at = 0;
  field = "";

  constructor(private readonly bytes: Bytes) {}

  refuse(reason: string): never {
    throw new Malformed(this.field, reason);
  }

  get ended(): boolean {
    return this.at === this.bytes.length;
  }

  data(width: number): Bytes {
    this.at += width;
    if (this.at > this.bytes.length) this.refuse("the file ends here");
    return this.bytes.slice(this.at - width, this.at);
  }

  uint(width: number, end: bigint): bigint {
    const value = toUint(this.data(width));
    if (value >= end) this.refuse(`${value} is not below ${end}`);
    return value;
  }

  small(width: number, end: number): number {
    return Number(this.uint(width, BigInt(end)));
  }

  read(form: Form, width: number): Value {
    switch (form) {
      case "text":
        return this.text();
      case "number":
        return this.uint(8, NUMBER_END);
      case "amount":
        return this.uint(16, 1n << 128n);
      case "name":
        return this.name();
      case "both":
        return this.both();
      case "lanes":
        return LANES[this.small(1, LANES.length)] as Lanes;
      case "leaf":
        return this.leaf(width);
      case "maybe":
        return this.small(1, 2) ? this.leaf(width) : null;
      case "path":
        return this.path(width);
      case "address":
        return this.data(20);
      case "data":
        return this.data(width);
    }
  }

  private text(): string {
    return fromUtf8(this.data(this.small(2, 1 << 16))) ?? this.refuse("is not UTF-8");
  }

  private name(): Name {
    return this.small(1, 2) ? Name.of(this.text()) : Name.byKey(this.data(HASH_BYTES));
  }

  private both(): Name {
    const name = this.name();
    if (name.id !== null && !equal(this.data(HASH_BYTES), name.key)) {
      this.refuse("its key is not the SHA-256 of the id");
    }
    return name;
  }

  private path(width: number): Bytes[] {
    return Array.from({ length: this.small(1, PATH_MAX + 1) }, () => this.data(width));
  }

  private leaf(width: number): Leaf {
    const row = this.data(width);
    return { row, index: this.uint(8, NUMBER_END), size: this.uint(8, NUMBER_END), path: this.path(NODE_BYTES) };
  }
}

function startsWith(data: Bytes, head: Bytes): boolean {
  return equal(data.subarray(0, head.length), head);
}

/** Read the binary form; throws `Malformed` if it is anything else, or not the only binary form of what it says. */
export function unpack(data: Bytes): ProofFile {
  if (data.length > FILE_BYTES_MAX) throw new Malformed("", `it is longer than ${FILE_BYTES_MAX} bytes`);
  const reader = new Reader(data);
  if (!startsWith(reader.data(MAGIC.length), MAGIC)) {
    reader.refuse("it does not begin as a binary proof of version 1");
  }
  const kind = NAMES[reader.small(1, NAMES.length + 1) - 1] ?? reader.refuse("0 is no kind of proof");
  const fields: { [name: string]: Value } = {};
  for (const [name, form, width] of fieldsOf(kind)) {
    reader.field = name;
    fields[name] = reader.read(form, width);
  }
  if (!reader.ended) throw new Malformed("", "it goes on behind its end");
  return { kind, fields } as unknown as ProofFile;
}

/** Turns the JSON form into the binary one; a value that is not as it would be written is refused. */
class Packer {
  private field = "";
  private readonly rest: Map<string, Json>;

  constructor(
    document: JsonObject,
    private readonly prefix = "",
  ) {
    this.rest = new Map(Object.entries(document));
  }

  refuse(reason: string): never {
    throw new Malformed(this.prefix + this.field, reason);
  }

  take(field: string): Json {
    this.field = field;
    const value = this.rest.get(field);
    if (value === undefined) this.refuse("is missing");
    this.rest.delete(field);
    return value;
  }

  finish(): void {
    const first = [...this.rest.keys()].sort(inCodePoints)[0];
    if (first !== undefined) throw new Malformed(this.prefix + first, "is no key of this kind of proof");
  }

  pack(field: string, form: Form, width: number): Bytes {
    if (form === "name" || form === "both") return this.named(field, form);
    const value = this.take(field);
    switch (form) {
      case "text":
        return this.text(value);
      case "number":
        return this.number(value);
      case "amount":
        return this.amount(value);
      case "lanes":
        return this.lanes(value);
      case "leaf":
        return this.leaf(value, width);
      case "maybe":
        return value === null ? Uint8Array.of(0) : concat(Uint8Array.of(1), this.leaf(value, width));
      case "path":
        return this.path(value, width);
      case "address":
        if (typeof value !== "string" || !value.startsWith("0x")) this.refuse("does not begin with 0x");
        return this.data(value.slice(2), 20);
      case "data":
        return this.data(value, width);
    }
  }

  private text(value: Json): Bytes {
    if (typeof value !== "string") this.refuse("is not text");
    if (!value.isWellFormed()) this.refuse("is not Unicode text");
    const data = utf8(value);
    if (data.length > TEXT_BYTES_MAX) this.refuse(`is longer than ${TEXT_BYTES_MAX} bytes`);
    return concat(uint(BigInt(data.length), 2), data);
  }

  private number(value: Json): Bytes {
    if (typeof value !== "bigint" || value < 0n || value >= NUMBER_END) this.refuse("is not a number in 0..2^63");
    return uint(value, 8);
  }

  private amount(value: Json): Bytes {
    if (typeof value !== "string" || !/^[0-9]{1,39}$/.test(value)) this.refuse("is not decimal digits");
    const number = BigInt(value);
    if (number.toString() !== value || number >> 128n) {
      this.refuse("is not a number of at most 128 bits, without zeros in front");
    }
    return uint(number, 16);
  }

  private data(value: Json, width: number): Bytes {
    const data = unhex(value, width);
    if (data === null || hex(data) !== value) this.refuse(`is not ${width} bytes of lower-case hex`);
    return data;
  }

  private path(value: Json, width: number): Bytes {
    if (!Array.isArray(value) || value.length > PATH_MAX) this.refuse(`is not a list of at most ${PATH_MAX} nodes`);
    return concat(Uint8Array.of(value.length), ...value.map((node) => this.data(node, width)));
  }

  private lanes(value: Json): Bytes {
    const at = LANES.indexOf(value as Lanes);
    if (at < 0) this.refuse("is no kind of lanes");
    return Uint8Array.of(at);
  }

  private leaf(value: Json, width: number): Bytes {
    if (!isObject(value)) this.refuse("is not an object");
    const inner = new Packer(value, `${this.prefix}${this.field}.`);
    const parts = [inner.pack("row", "data", width), inner.pack("index", "number", 8)];
    parts.push(inner.pack("size", "number", 8), inner.pack("path", "path", NODE_BYTES));
    inner.finish();
    return concat(...parts);
  }

  /** `node_id` and `node_key`, or `job_id` and `job_key`. */
  private named(field: string, form: "name" | "both"): Bytes {
    const keyField = field.replace("_id", "_key");
    if (!this.rest.has(field)) return concat(Uint8Array.of(0), this.data(this.take(keyField), HASH_BYTES));
    const text = concat(Uint8Array.of(1), this.text(this.take(field)));
    return form === "name" ? text : concat(text, this.data(this.take(keyField), HASH_BYTES));
  }
}

function inCodePoints(a: string, b: string): number {
  const [one, other] = [Array.from(a), Array.from(b)];
  const at = one.findIndex((char, i) => char !== other[i]);
  if (at < 0 || other[at] === undefined) return one.length - other.length;
  return (one[at]?.codePointAt(0) as number) - (other[at].codePointAt(0) as number);
}

/** The binary form of a proof's JSON object; throws `Malformed` if it is none, or not the only JSON form of it. */
export function pack(document: JsonObject): Bytes {
  const packer = new Packer(document);
  if (packer.take("meridian_proof") !== VERSION) packer.refuse(`is not ${VERSION}`);
  const kind = packer.take("kind");
  const number = NAMES.indexOf(kind as Kind);
  if (number < 0) packer.refuse("is no kind of proof");
  const parts = fieldsOf(kind as Kind).map(([field, form, width]) => packer.pack(field, form, width));
  packer.finish();
  return concat(MAGIC, Uint8Array.of(1 + number), ...parts);
}

/** The JSON object in some bytes; throws `Malformed`. */
export function readJson(data: Bytes): JsonObject {
  if (data.reduce((sum, byte) => sum + (byte === 0x5b || byte === 0x7b ? 1 : 0), 0) > BRACKETS_MAX) {
    throw new Malformed("", "it is nested too deeply");
  }
  let value: Json;
  try {
    const text = fromUtf8(data);
    if (text === null) throw new JsonError("it is not UTF-8");
    value = parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new Malformed("", `it is neither binary nor JSON: ${error.message}`);
  }
  if (!isObject(value)) throw new Malformed("", "it is not a JSON object");
  return value;
}

/** Read a proof file in either form; throws `Malformed` with the field that is wrong. */
export function decode(data: Bytes): ProofFile {
  if (startsWith(data, MAGIC) || data.length > FILE_BYTES_MAX) return unpack(data);
  return unpack(pack(readJson(data)));
}
