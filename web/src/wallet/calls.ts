/**
 * The calls of contracts that the pages make, and the complaint that a node's operator signs: encoded here by hand, as no
 * more of the ABI is needed than words, one array of pairs, and a text.
 */

import type { Claim, ClaimPathNode, Network } from "../data/types.ts";
import { type Bytes, concat, fromUtf8, hex, toUint, uint, unhex, utf8 } from "../verifier/bytes.ts";
import { keccak, NAME, VERSION, word } from "../verifier/eip712.ts";

/** The first four bytes of a call: of which function it is. */
function selector(signature: string): Bytes {
  return keccak(utf8(signature)).subarray(0, 4);
}

function call(signature: string, ...words: Bytes[]): string {
  return `0x${hex(concat(selector(signature), ...words))}`;
}

function bytes(text: string, width: number): Bytes {
  const found = unhex(text.replace(/^0x/, ""), width);
  if (found === null) throw new RangeError(`${text} is not ${width} bytes of hex`);
  return found;
}

function number(value: number | bigint, bits: number): Bytes {
  const found = BigInt(value);
  if (found < 0n || found >> BigInt(bits)) throw new RangeError(`${value} is not a number of ${bits} bits`);
  return word(found);
}

/** The second word of a node of a path: its count and total at the upper end, as they are hashed. */
function annotationWord({ count, total }: ClaimPathNode): Bytes {
  return concat(uint(count, 8), uint(total, 16), new Uint8Array(8));
}

/** `Rewards.claim`: seven words, the last of which says where the path begins: behind them. */
export function claimCall(claim: Claim): string {
  const { epoch, nodeKey, payee, cumulative, index, size, path } = claim;
  return call(
    "claim(uint64,bytes32,address,uint128,uint64,uint64,(bytes32,uint256)[])",
    number(epoch, 64),
    bytes(nodeKey, 32),
    word(bytes(payee, 20)),
    number(cumulative, 128),
    number(index, 64),
    number(size, 64),
    word(7n * 32n),
    word(BigInt(path.length)),
    ...path.flatMap((node) => [bytes(node.hash, 32), annotationWord(node)]),
  );
}

/** `Rewards.claimed`: what a node has had so far. */
export function claimedCall(nodeKey: string): string {
  return call("claimed(bytes32)", bytes(nodeKey, 32));
}

/** `Evaluations.report`: report hash, reward root, total, unlock time, transmitter. */
export function reportCall(epoch: number | bigint): string {
  return call("report(uint64)", number(epoch, 64));
}

/** `Commitments.aggregator`: whether an account is an active one, its stake, exit time, and whether it was slashed. */
export function aggregatorCall(account: string): string {
  return call("aggregator(address)", word(bytes(account, 20)));
}

const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
/** A CID of version 1 of raw bytes, named by their SHA-256. */
const RAW_CID = "01551220";

/** The digest in a CID of raw bytes, in hex; hex itself is left as it is. */
export function digestOfCid(cid: string): string {
  if (/^(0x)?[0-9a-fA-F]{64}$/.test(cid)) return cid;
  const bits = Array.from(cid.slice(1), (char) => BASE32.indexOf(char).toString(2).padStart(5, "0")).join("");
  const whole = /^b[a-z2-7]{58}$/.test(cid) ? BigInt(`0b${bits.slice(0, 288)}`).toString(16).padStart(72, "0") : "";
  if (!whole.startsWith(RAW_CID)) throw new RangeError(`${cid} is no CID of raw bytes`);
  return whole.slice(RAW_CID.length);
}

export interface Committed {
  epoch: number | bigint;
  aggregator: string;
  root: string;
  nodes: number;
  /** 24 bytes: number of jobs and their sums. */
  annotation: Bytes;
  /** Digest in hex, or CID. */
  manifest: string;
}

/** `Commitments.is_commitment`: whether an aggregator's commitment says exactly this and is not void. */
export function isCommitmentCall({ epoch, aggregator, root, nodes, annotation, manifest }: Committed): string {
  return call(
    "is_commitment(uint64,address,bytes32,uint64,bytes24,bytes32)",
    number(epoch, 64),
    word(bytes(aggregator, 20)),
    bytes(root, 32),
    number(nodes, 64),
    concat(annotation, new Uint8Array(32 - annotation.length)),
    bytes(digestOfCid(manifest), 32),
  );
}

/** Jobs and sums as the 24 bytes that follow a node's hash. */
export function annotationOf(jobs: number, sums: bigint[], lanes: Network["lanes"]): Bytes {
  const own = lanes === "u128" ? [uint(sums[0] ?? 0n, 16)] : [uint(sums[0] ?? 0n, 8), uint(sums[1] ?? 0n, 8)];
  return concat(uint(BigInt(jobs), 8), ...own);
}

/** The words of an answer; null if it is none. */
export function words(answer: string): Bytes[] | null {
  const data = unhex(answer.replace(/^0x/, ""), answer.replace(/^0x/, "").length / 2);
  if (data === null || data.length === 0 || data.length % 32 !== 0) return null;
  return Array.from({ length: data.length / 32 }, (_, at) => data.subarray(32 * at, 32 * at + 32));
}

const REVERTED = "08c379a0";

/** The reason in the bytes of a revert, or in what a wallet says instead; the contracts give such as `rewards: locked`. */
export function revertReason(data: string, message: string): string {
  const found = data.replace(/^0x/, "");
  if (found.startsWith(REVERTED)) {
    const body = unhex(found.slice(8), (found.length - 8) / 2);
    if (body !== null && body.length >= 64) {
      const length = Number(toUint(body.subarray(32, 64)));
      const text = fromUtf8(body.subarray(64, 64 + length));
      if (text !== null) return text;
    }
  }
  return /(rewards|trees|sums?|evaluations|commitments): [a-z ]+/.exec(message)?.[0] ?? message;
}

/** Address of one of a network's contracts, as the site gives it; null: it does not. */
export function contractOf(contracts: Network["contracts"], name: string): string | null {
  const found = Object.entries(contracts).find(([key]) => key.toLowerCase() === name)?.[1] ?? "";
  return /^0x[0-9a-fA-F]{40}$/.test(found) ? found : null;
}

const COMPLAINT = [
  { name: "network", type: "bytes32" },
  { name: "nodeKey", type: "bytes32" },
  { name: "epoch", type: "uint64" },
  { name: "text", type: "string" },
  { name: "atS", type: "uint64" },
];

export interface ComplaintWords {
  nodeKey: string;
  epoch: number;
  text: string;
  atS: number;
}

function prefixed(digits: string): string {
  return `0x${digits.replace(/^0x/, "")}`;
}

/** A complaint as wallets are asked to sign it (`eth_signTypedData_v4`), in the domain of Commitments. */
export function complaintTypedData(
  network: Pick<Network, "networkId" | "chainId" | "contracts">,
  { nodeKey, epoch, text, atS }: ComplaintWords,
): object {
  return {
    types: {
      EIP712Domain: [
        { name: "name", type: "string" },
        { name: "version", type: "string" },
        { name: "chainId", type: "uint256" },
        { name: "verifyingContract", type: "address" },
      ],
      Complaint: COMPLAINT,
    },
    primaryType: "Complaint",
    domain: { name: NAME, version: VERSION, chainId: network.chainId, verifyingContract: contractOf(network.contracts, "commitments") },
    message: { network: prefixed(network.networkId), nodeKey: prefixed(nodeKey), epoch, text, atS },
  };
}
