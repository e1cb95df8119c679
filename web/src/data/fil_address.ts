/** The account that a text names: 0x in any letter case, f410f (t410f), or f0 (t0); FIP-0048 and FIP-0055. */

import { blake2b } from "@noble/hashes/blake2.js";

import { fromHex, order } from "./bytes.ts";

const DIGITS = "abcdefghijklmnopqrstuvwxyz234567";

/** The 20 bytes; null: it is no account, or its checksum is wrong. */
export function addressOf(query: string): Uint8Array | null {
  const text = query.trim().toLowerCase();
  if (/^0x[0-9a-f]{40}$/.test(text)) return fromHex(text.slice(2));
  const number = /^[ft]0(0|[1-9]\d{0,19})$/.exec(text)?.[1];
  if (number !== undefined) {
    const value = BigInt(number);
    return value >> 64n ? null : fromHex(`ff${"00".repeat(11)}${value.toString(16).padStart(16, "0")}`);
  }
  const digits = /^[ft]410f([a-z2-7]{39})$/.exec(text)?.[1];
  if (digits === undefined) return null;
  let bits = 0n;
  for (const digit of digits) bits = (bits << 5n) | BigInt(DIGITS.indexOf(digit));
  if (bits & 7n) return null; // the spare bits of the last digit
  const payload = fromHex((bits >> 3n).toString(16).padStart(48, "0"));
  const account = payload.subarray(0, 20);
  const checksum = blake2b(Uint8Array.of(4, 10, ...account), { dkLen: 4 });
  return order(checksum, payload.subarray(20)) === 0 ? account : null;
}
