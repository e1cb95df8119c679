/** EIP-712: typed data as wallets sign and contracts check them, and the account that a signature belongs to. */

import { secp256k1 } from "@noble/curves/secp256k1.js";
import { keccak_256 as keccak } from "@noble/hashes/sha3.js";

import { type Bytes, concat, toUint, uint, utf8 } from "./bytes.ts";

export { keccak };

/** Where a signature is valid: one contract on one chain. */
export interface Domain {
  chainId: bigint;
  contract: Bytes;
}

export const NAME = "Meridian";
export const VERSION = "1";
export const DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";

/** A value as one word of 32 bytes: an integer, 32 bytes, or an address of 20. */
export function word(value: bigint | Bytes): Bytes {
  return typeof value === "bigint" ? uint(value, 32) : concat(new Uint8Array(32 - value.length), value);
}

/** The hash of a struct, of its type in words and one word for each field. */
export function structHash(type: string, words: Bytes[]): Bytes {
  return keccak(concat(keccak(utf8(type)), ...words));
}

export function separator(domain: Domain): Bytes {
  return structHash(DOMAIN_TYPE, [
    keccak(utf8(NAME)),
    keccak(utf8(VERSION)),
    word(domain.chainId),
    word(domain.contract),
  ]);
}

/** The two bytes in front of domain and struct in what is signed. */
export const PREFIX: Bytes = Uint8Array.of(0x19, 0x01);

/**
 * The account that signed a digest; null if the bytes are no signature in the one canonical form of 64 bytes (EIP-2098,
 * low s).
 */
export function recover(digest: Bytes, signature: Bytes): Bytes | null {
  if (signature.length !== 64) return null;
  const packed = toUint(signature.subarray(32));
  const s = packed & ((1n << 255n) - 1n);
  try {
    const r = toUint(signature.subarray(0, 32));
    const found = new secp256k1.Signature(r, s, Number(packed >> 255n));
    if (found.hasHighS()) return null;
    return keccak(found.recoverPublicKey(digest).toBytes(false).subarray(1)).subarray(12);
  } catch {
    return null;
  }
}
