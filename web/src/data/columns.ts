/**
 * Columns files: `docs/spec/13-columns.md`. A column is a view of the file's bytes; nothing is copied or decoded before
 * it is asked for.
 */

export interface Numbers {
  length: number;
  /** Null where the column is. A number beyond 2^53 must be asked for by `big`. */
  number(row: number): number | null;
  big(row: number): bigint | null;
}

export class BadColumns extends Error {}

interface Entry {
  name: string;
  type: string;
  rows: number;
  at: number;
  bytes: number;
  nulls?: number;
}

const MAGIC = [0x4d, 0x52, 0x44, 0x4e, 0x43, 0x4f, 0x4c, 0x01];
const WIDTHS: { [type: string]: number } = { u8: 1, u16: 2, u32: 4, u64: 8, u128: 16 };
const decoder = new TextDecoder("utf-8", { fatal: true });

function plain(bytes: Uint8Array, type: string): (row: number) => number | bigint {
  const { buffer, byteOffset, byteLength } = bytes;
  const width = WIDTHS[type] ?? 0;
  const rows = byteLength / width;
  if (type === "u8") return (row) => bytes[row] as number;
  if (type === "u16") {
    const words = new Uint16Array(buffer, byteOffset, rows);
    return (row) => words[row] as number;
  }
  if (type === "u32") {
    const words = new Uint32Array(buffer, byteOffset, rows);
    return (row) => words[row] as number;
  }
  const words = new BigUint64Array(buffer, byteOffset, byteLength / 8);
  if (type === "u64") return (row) => words[row] as bigint;
  return (row) => (words[2 * row] as bigint) | ((words[2 * row + 1] as bigint) << 64n);
}

export class Columns {
  readonly facts: { [name: string]: unknown };
  private readonly entries = new Map<string, Entry>();
  private readonly body: Uint8Array;

  /** The buffer starts at a multiple of 8 bytes, as every buffer of its own does. */
  constructor(file: ArrayBuffer) {
    const all = new Uint8Array(file);
    if (all.length < 12 || MAGIC.some((byte, at) => all[at] !== byte)) throw new BadColumns("not a columns file");
    const length = new DataView(file).getUint32(8, true);
    if (12 + length > all.length || (12 + length) % 8) throw new BadColumns("the header does not lie in the file");
    const header = JSON.parse(decoder.decode(all.subarray(12, 12 + length))) as { facts: Columns["facts"]; columns: Entry[] };
    this.facts = header.facts;
    this.body = all.subarray(12 + length);
    for (const entry of header.columns) this.entries.set(entry.name, entry);
  }

  has(name: string): boolean {
    return this.entries.has(name);
  }

  rows(name: string): number {
    return this.entry(name).rows;
  }

  private entry(name: string): Entry {
    const entry = this.entries.get(name);
    if (entry === undefined) throw new BadColumns(`there is no column ${name}`);
    return entry;
  }

  private part(at: number, bytes: number): Uint8Array {
    if (at < 0 || at % 8 || at + bytes > this.body.length) throw new BadColumns("a column does not lie in the file");
    return this.body.subarray(at, at + bytes);
  }

  numbers(name: string): Numbers {
    const entry = this.entry(name);
    if (WIDTHS[entry.type] === undefined || entry.bytes !== (WIDTHS[entry.type] as number) * entry.rows) {
      throw new BadColumns(`${name} is no column of numbers`);
    }
    const read = plain(this.part(entry.at, entry.bytes), entry.type);
    const bits = entry.nulls === undefined ? null : this.part(entry.nulls, (entry.rows + 7) >> 3);
    const isNull = (row: number) => bits !== null && (((bits[row >> 3] as number) >> (row & 7)) & 1) === 1;
    return {
      length: entry.rows,
      number: (row) => (isNull(row) ? null : Number(read(row))),
      big: (row) => (isNull(row) ? null : BigInt(read(row))),
    };
  }

  /** Rows of one width, as one run of bytes. */
  fixed(name: string): { width: number; length: number; row(row: number): Uint8Array; all: Uint8Array } {
    const entry = this.entry(name);
    const width = Number(/^bytes([1-9]\d*)$/.exec(entry.type)?.[1]);
    if (!(width * entry.rows === entry.bytes)) throw new BadColumns(`${name} is no column of bytes`);
    const all = this.part(entry.at, entry.bytes);
    return { width, length: entry.rows, all, row: (row) => all.subarray(row * width, (row + 1) * width) };
  }

  texts(name: string): { length: number; text(row: number): string } {
    const entry = this.entry(name);
    if (entry.type !== "text") throw new BadColumns(`${name} is no column of texts`);
    const all = this.part(entry.at, entry.bytes);
    const ends = new Uint32Array(all.buffer, all.byteOffset, entry.rows + 1);
    const bytes = all.subarray(4 * (entry.rows + 1));
    return { length: entry.rows, text: (row) => decoder.decode(bytes.subarray(ends[row], ends[row + 1])) };
  }
}
