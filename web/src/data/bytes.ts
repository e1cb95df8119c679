/** Hex and order of bytes, without anything that hashes. */

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

export function toHex(data: Uint8Array): string {
  let text = "";
  for (const byte of data) text += HEX[byte];
  return text;
}

export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: text.length >> 1 }, (_, at) => Number.parseInt(text.slice(2 * at, 2 * at + 2), 16));
}

export const toAddress = (data: Uint8Array): string => `0x${toHex(data)}`;

export function order(a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < a.length && at < b.length; at++) {
    const difference = (a[at] as number) - (b[at] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** The first of `count` sorted rows that is not before `wanted`. */
export function firstNotBefore(count: number, wanted: Uint8Array, row: (at: number) => Uint8Array): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (order(row(middle), wanted) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The shard of a key or an address: its first 16 bits, of which the upper ones count. */
export function shardOf(key: Uint8Array, shards: number): number {
  return ((((key[0] as number) << 8) | (key[1] as number)) * shards) >> 16;
}

export const shardFile = (folder: string, shard: number): string => `${folder}/${String(shard).padStart(5, "0")}.col`;
