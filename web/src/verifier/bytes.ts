/** Bytes as the formats have them: big-endian integers, lower-case hex, comparison from the left. */

import { sha256 as hash } from "@noble/hashes/sha2.js";

export type Bytes = Uint8Array;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function utf8(text: string): Bytes {
  return encoder.encode(text);
}

/** The text that bytes encode, null if they are not UTF-8. */
export function fromUtf8(data: Bytes): string | null {
  try {
    return decoder.decode(data);
  } catch {
    return null;
  }
}

export function concat(...parts: Bytes[]): Bytes {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function hex(data: Bytes): string {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The bytes of hex text of exactly that many bytes, in any letter case; null if it is not that. */
export function unhex(text: unknown, width: number): Bytes | null {
  if (typeof text !== "string" || !/^[0-9a-fA-F]*$/.test(text) || text.length !== 2 * width) return null;
  return Uint8Array.from({ length: width }, (_, at) => Number.parseInt(text.slice(2 * at, 2 * at + 2), 16));
}

/** A big-endian unsigned integer of `width` bytes. */
export function uint(value: bigint, width: number): Bytes {
  const out = new Uint8Array(width);
  for (let at = width - 1; at >= 0; at--) {
    out[at] = Number(value & 255n);
    value >>= 8n;
  }
  if (value !== 0n) throw new RangeError(`a value does not fit in ${width} bytes`);
  return out;
}

export function toUint(data: Bytes): bigint {
  return data.length === 0 ? 0n : BigInt(`0x${hex(data)}`);
}

export function equal(a: Bytes, b: Bytes): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

/** Below zero, zero or above zero, as the first bytes that differ are. */
export function compare(a: Bytes, b: Bytes): number {
  for (let at = 0; at < Math.min(a.length, b.length); at++) {
    const difference = (a[at] as number) - (b[at] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

export function sha256(...parts: Bytes[]): Bytes {
  return hash(concat(...parts));
}

/** SHA-256 of one domain tag and the parts. */
export function tagged(tag: number, ...parts: Bytes[]): Bytes {
  return hash(concat(Uint8Array.of(tag), ...parts));
}

function escaped(char: string): string {
  const named: { [char: string]: string } = { "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r" };
  const known = named[char];
  if (known !== undefined) return known;
  const code = char.codePointAt(0) as number;
  if (char === " " || !/[\p{C}\p{Z}]/u.test(char)) return char;
  const digits = code.toString(16);
  if (code < 0x100) return `\\x${digits.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
}

/**
 * A text in quotes, with what cannot be seen escaped: as Python's `repr` writes it, in whose words steps are told
 * (but for characters that one of the two Unicode tables does not have yet).
 */
export function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const inside = Array.from(text, (char) => (char === quote ? `\\${char}` : escaped(char))).join("");
  return quote + inside + quote;
}
