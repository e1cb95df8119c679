/**
 * Receipts: what an aggregator promised for a batch, under its signature.
 *
 * The promise: every accepted job of the batch stands exactly once in an epoch up to the deadline, with exactly the row of
 * the batch. A receipt alone shows who promised what, until when; whether it was kept, `meridian receipt check` tells.
 */

import { type Bytes, concat, hex, unhex, utf8 } from "./bytes.ts";
import { Malformed, readJson } from "./document.ts";
import { type Domain, DOMAIN_TYPE, keccak, NAME, PREFIX, recover, separator, structHash, VERSION, word } from "./eip712.ts";
import { isObject, type Json, type JsonObject } from "./json.ts";
import { Check, holds, type Step, Stopped } from "./steps.ts";

const RECEIPT_TYPE =
  "Receipt(bytes32 network,uint64 deadlineEpoch,address aggregator,uint64 sequence,bytes32 batchRoot,uint64 receivedAtUs)";
const U64_END = 1n << 64n;
const U256_END = 1n << 256n;

export interface Receipt {
  network: Bytes;
  deadlineEpoch: bigint;
  aggregator: Bytes;
  sequence: bigint;
  batchRoot: Bytes;
  receivedAtUs: bigint;
  domain: Domain;
  signature: Bytes;
  /** What the service's answer says beside the receipt, which nothing here proves; null: the receipt came alone. */
  answer: { batch: string; accepted: bigint } | null;
}

export interface CheckedReceipt {
  receipt: Receipt | null;
  statement: string;
  steps: Step[];
  holds: boolean;
}

const KEYS = [
  "network", "deadline_epoch", "aggregator", "sequence", "batch_root", "received_at_us", "chain_id", "contract", "signature",
];

class Reader {
  constructor(private readonly document: JsonObject) {
    const other = Object.keys(document).find((key) => !KEYS.includes(key));
    if (other !== undefined) throw new Malformed(other, "is no key of a receipt");
  }

  bytes(field: string, width: number, prefix = ""): Bytes {
    const value = this.take(field);
    const data = typeof value === "string" && value.startsWith(prefix) ? unhex(value.slice(prefix.length), width) : null;
    if (data === null) throw new Malformed(field, `is not ${prefix && "0x and "}${width} bytes of hex`);
    return data;
  }

  number(field: string, end: bigint): bigint {
    const value = this.take(field);
    if (typeof value !== "bigint" || value < 0n || value >= end) {
      throw new Malformed(field, `is not a number in 0..2^${end === U64_END ? 64 : 256}`);
    }
    return value;
  }

  private take(field: string): Json {
    const value = this.document[field];
    if (value === undefined) throw new Malformed(field, "is missing");
    return value;
  }
}

/** Whether a JSON object is a receipt, or an answer of the measure service that holds one. */
export function looksLikeReceipt(document: JsonObject): boolean {
  return "batch_root" in document || isObject(document["receipt"]);
}

function read(document: JsonObject): Receipt {
  const inner = document["receipt"];
  const reader = new Reader(isObject(inner) ? inner : document);
  const { batch, accepted } = document;
  return {
    network: reader.bytes("network", 32),
    deadlineEpoch: reader.number("deadline_epoch", U64_END),
    aggregator: reader.bytes("aggregator", 20, "0x"),
    sequence: reader.number("sequence", U64_END),
    batchRoot: reader.bytes("batch_root", 32),
    receivedAtUs: reader.number("received_at_us", U64_END),
    domain: { chainId: reader.number("chain_id", U256_END), contract: reader.bytes("contract", 20, "0x") },
    signature: reader.bytes("signature", 64),
    answer: typeof batch === "string" && typeof accepted === "bigint" ? { batch, accepted } : null,
  };
}

/** What a network says of itself, to compare with; what is null is not known. */
export interface Expected {
  network: Bytes;
  chainId: bigint;
  contract: Bytes;
}

function run(c: Check, receipt: Receipt, expected: Expected | null): void {
  const { domain } = receipt;
  if (expected !== null) {
    c.equal("network", "is the id of this network", receipt.network, expected.network);
    c.equal("chain id", "is the chain of this network", domain.chainId, expected.chainId);
    c.equal("contract", "is the contract Commitments of this network", domain.contract, expected.contract);
  }
  const parts = [
    { label: "network id", data: word(receipt.network) },
    { label: "deadline epoch", data: word(receipt.deadlineEpoch) },
    { label: "aggregator", data: word(receipt.aggregator) },
    { label: "sequence", data: word(receipt.sequence) },
    { label: "batch root", data: word(receipt.batchRoot) },
    { label: "received at, microseconds", data: word(receipt.receivedAtUs) },
  ];
  const words = parts.map((part) => part.data);
  const type = { label: "hash of the type", data: keccak(utf8(RECEIPT_TYPE)) };
  const hashed = structHash(RECEIPT_TYPE, words);
  c.hashed("receipt", `Keccak-256(type hash 32 | 6 words), type ${RECEIPT_TYPE}`, null, hashed, [type, ...parts]);
  const domainParts = [
    { label: "hash of the type", data: keccak(utf8(DOMAIN_TYPE)) },
    { label: `hash of the name ${NAME}`, data: keccak(utf8(NAME)) },
    { label: `hash of the version ${VERSION}`, data: keccak(utf8(VERSION)) },
    { label: "chain id", data: word(domain.chainId) },
    { label: "contract", data: word(domain.contract) },
  ];
  const where = separator(domain);
  c.hashed("domain", `Keccak-256(type hash 32 | 4 words), type ${DOMAIN_TYPE}`, null, where, domainParts);
  const signed = [
    { label: "prefix of EIP-712", data: PREFIX },
    { label: "domain", data: where },
    { label: "receipt", data: hashed },
  ];
  const digest = keccak(concat(...signed.map((part) => part.data)));
  c.hashed("digest", "Keccak-256(0x1901 | domain 32 | receipt 32)", null, digest, signed);
  const signer = recover(digest, receipt.signature);
  if (signer === null) c.refuse("signature", "is one over the digest, in its only form", "it belongs to no key");
  c.equal("signer", "the account that the signature belongs to is the aggregator", signer, receipt.aggregator);
}

function statement(receipt: Receipt): string {
  return (
    `aggregator 0x${hex(receipt.aggregator)} promised, as receipt number ${receipt.sequence}, that every job of the batch ` +
    `with root ${hex(receipt.batchRoot)} stands in an epoch up to ${receipt.deadlineEpoch}`
  );
}

function readOrRefuse(c: Check, data: Bytes): Receipt {
  try {
    return read(readJson(data));
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return c.refuse("document", error.field ? `field ${error.field}` : "a receipt", error.reason);
  }
}

/** Check a receipt in JSON, alone or in the answer of a measure service. */
export function checkReceipt(data: Bytes, expected: Expected | null = null): CheckedReceipt {
  const c = new Check();
  let receipt: Receipt | null = null;
  try {
    receipt = readOrRefuse(c, data);
    run(c, receipt, expected);
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
  }
  return { receipt, statement: receipt === null ? "" : statement(receipt), steps: c.steps, holds: holds(c.steps) };
}
