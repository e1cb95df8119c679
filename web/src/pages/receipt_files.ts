/** An operator's own files of receipts: read, bounded, and each receipt checked. Nothing of them leaves the page. */

import type { Network } from "../data/types.ts";
import { count } from "../ui/format.ts";
import { type Bytes, hex, unhex, utf8 } from "../verifier/bytes.ts";
import { FILE_BYTES_MAX } from "../verifier/document.ts";
import { checkReceipt, type Expected } from "../verifier/receipt.ts";
import { contractOf } from "../wallet/calls.ts";

export const FILES_MAX = 1000;
/** Together, also from files that hold one on each line. */
export const RECEIPTS_MAX = 1000;
/** So many are checked before the page may draw again: a signature takes a millisecond or two. */
const AT_ONCE = 20;

export interface OwnReceipt {
  /** The file, and the line where it holds several. */
  file: string;
  sequence: bigint;
  receivedAtS: number;
  deadlineEpoch: bigint;
  /** Lower-case hex with 0x, as the site writes it. */
  aggregator: string;
  /** Null: the signature holds, and the receipt is about this network; else the comparison that fails. */
  fault: string | null;
}

export interface Trouble {
  file: string;
  reason: string;
}

export interface Found {
  receipts: OwnReceipt[];
  troubles: Trouble[];
}

/** What receipts of a network must say of it; null: the site does not name it properly. */
export function expectedOf(network: Network): Expected | null {
  const contract = unhex((contractOf(network.contracts, "commitments") ?? "").replace(/^0x/, ""), 20);
  const id = unhex(network.networkId.replace(/^0x/, ""), 32);
  return contract === null || id === null ? null : { network: id, chainId: BigInt(network.chainId), contract };
}

function add(found: Found, file: string, data: Bytes, expected: Expected | null): void {
  const { receipt, steps } = checkReceipt(data, expected);
  const failed = steps.find((step) => !step.ok);
  if (receipt === null) {
    found.troubles.push({ file, reason: failed === undefined ? "It is no receipt." : `It is no receipt: ${failed.rule}: ${failed.value}.` });
    return;
  }
  found.receipts.push({
    file,
    sequence: receipt.sequence,
    receivedAtS: Number(receipt.receivedAtUs / 1_000_000n),
    deadlineEpoch: receipt.deadlineEpoch,
    aggregator: `0x${hex(receipt.aggregator)}`,
    fault: failed === undefined ? null : failed.name,
  });
}

/** The documents in a file: one, or one on each line of a `.jsonl` or `.ndjson`. */
async function documentsOf(file: File): Promise<{ name: string; data: Bytes }[]> {
  if (!/\.(jsonl|ndjson)$/i.test(file.name)) return [{ name: file.name, data: new Uint8Array(await file.arrayBuffer()) }];
  const lines = (await file.text()).split("\n").map((line, i) => ({ name: `${file.name}, line ${i + 1}`, line }));
  return lines.filter(({ line }) => line.trim() !== "").map(({ name, line }) => ({ name, data: utf8(line) }));
}

/** Read and check files; `stopped` is asked now and then, and ends it early. What cannot be used is named with its reason. */
export async function readReceipts(files: File[], network: Network, stopped: () => boolean): Promise<Found> {
  const found: Found = { receipts: [], troubles: [] };
  const expected = expectedOf(network);
  if (files.length > FILES_MAX) {
    found.troubles.push({ file: `${count(files.length)} files`, reason: `Only the first ${count(FILES_MAX)} are read. Choose the rest after them.` });
  }
  let checked = 0;
  for (const file of files.slice(0, FILES_MAX)) {
    if (file.size > FILE_BYTES_MAX) {
      found.troubles.push({ file: file.name, reason: `It has ${count(file.size)} bytes; at most ${count(FILE_BYTES_MAX)} are read.` });
      continue;
    }
    let documents: { name: string; data: Bytes }[];
    try {
      documents = await documentsOf(file);
    } catch (error) {
      found.troubles.push({ file: file.name, reason: `The browser cannot read it: ${error instanceof Error ? error.message : String(error)}` });
      continue;
    }
    for (const { name, data } of documents) {
      if (stopped()) return found;
      if (checked === RECEIPTS_MAX) {
        found.troubles.push({ file: name, reason: `Only the first ${count(RECEIPTS_MAX)} receipts are checked: this one and those after it are not.` });
        return found;
      }
      add(found, name, data, expected);
      checked += 1;
      if (checked % AT_ONCE === 0) await new Promise((resolve) => setTimeout(resolve));
    }
  }
  return found;
}
