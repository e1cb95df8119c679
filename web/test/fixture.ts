/** A made-up site in memory, for work on the pages without files. */

import type * as T from "../src/data/types.ts";

const EPOCHS = 60;
const NODES = 400;
const COIN = 10n ** 18n;
const MEMBERS = 7;
const GENESIS = 1_790_000_000;
const LENGTH = 3600;

function hex(seed: number, bytes: number): string {
  let state = BigInt(seed) * 0x9e3779b97f4a7c15n + 0x1234567n;
  let text = "";
  while (text.length < bytes * 2) {
    state = (state * 6364136223846793005n + 1442695040888963407n) & ((1n << 64n) - 1n);
    text += (state >> 16n & 0xffffffffn).toString(16).padStart(8, "0");
  }
  return text.slice(0, bytes * 2);
}
const address = (seed: number) => `0x${hex(seed, 20)}`;
const rough = (seed: number) => Number.parseInt(hex(seed, 4), 16) / 0xffffffff;

function transaction(seed: number, atS: number): T.Transaction {
  return { hash: hex(seed, 32), block: 1000 + seed, gas: 90_000 + (seed % 50_000), atS, from: address(seed) };
}

function row(epoch: number): T.EpochRow {
  const age = EPOCHS - 1 - epoch;
  const states: T.EpochState[] = ["open", "sealed", "committed", "challenge", "challenge"];
  const state = states[age] ?? (epoch % 23 === 7 ? "void" : epoch % 31 === 9 ? "abandoned" : "paid");
  const reported = state === "challenge" || state === "paid";
  const budget = 1000n * COIN;
  const allocated = reported ? budget - BigInt(epoch + 3) : 0n;
  const endS = GENESIS + (epoch + 1) * LENGTH;
  return {
    epoch, state, endS, jobs: state === "open" ? 0 : 200_000 + Math.floor(100_000 * rough(epoch)),
    nodes: state === "open" ? 0 : NODES, members: MEMBERS, signers: reported ? 5 + (epoch % 3) : 0, budget, allocated,
    paid: state === "paid" ? (allocated * 9n) / 10n : 0n, unlockAtS: reported ? endS + 7200 : null,
    disputes: state === "void" ? 1 : 0,
  };
}

function node(epoch: number, place: number): T.NodeInEpoch {
  const key = hex(place + 1, 32);
  const jobs = 100 + (Number.parseInt(key.slice(0, 3), 16) % 900) + (epoch % 13);
  const bad = place % 9;
  const weight = BigInt(jobs - bad);
  const deferred = place % 97 === 5;
  const reported = ["challenge", "paid"].includes(row(epoch).state);
  return {
    place, id: `node-${String(place).padStart(5, "0")}`, key, payee: address(place + 1), jobs, late: place % 50 === 0 ? 3 : 0,
    verdicts: reported ? [jobs - bad, bad > 4 ? bad - 4 : 0, Math.min(bad, 4), 0] : null,
    weight: reported && !deferred ? weight : null, deferred, proportion: reported ? (weight * COIN) / 220_000n : 0n,
    amount: reported && !deferred ? (weight * 1000n * COIN) / 220_000n : 0n, cumulative: (weight * BigInt(epoch) * 1000n * COIN) / 220_000n,
  };
}

const members = Array.from({ length: MEMBERS }, (_, i) => address(9000 + i));

function epochOf(number: number): T.Epoch {
  const found = row(number);
  const atS = found.endS + 30;
  const reported = found.signers > 0;
  return {
    row: found, openedS: found.endS - LENGTH, selfCommitments: [],
    commitments: found.jobs === 0 ? [] : [{ aggregator: address(77), root: hex(number, 32), nodes: NODES, jobs: found.jobs, sums: [BigInt(found.jobs), 123456789n], manifest: "bafkreigh2akiscaildc", standing: true, transaction: transaction(number, atS) }],
    function: { name: "saturn-v1", digest: hex(5, 32), cid: "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", source: "data/function/saturn.py" },
    parameters: hex(6, 32), inputs: [],
    members: members.map((member, i) => ({ member, present: i !== 3, body: i === 3 ? null : "bafkreirow", agreementPpm: i === 3 ? 0 : 1_000_000 - i * 4000, outliers: i * 2 })),
    blockHash: reported ? hex(number + 100, 32) : null,
    reports: reported ? [{ hash: hex(number + 200, 32), previous: hex(number + 199, 32), rewardRoot: hex(number + 300, 32), verdictRoot: hex(number + 400, 32), total: found.allocated, signers: members.slice(0, found.signers), transmitter: members[number % MEMBERS] ?? "", unlockAtS: found.unlockAtS ?? 0, transaction: transaction(number + 1, atS + 60), standing: true }] : [],
    disputes: found.disputes ? [{ kind: "wrong aggregate", accused: members[1] ?? "", accuser: address(1), outcome: "proved: report void", transaction: transaction(9, atS) }] : [],
    verdicts: reported ? [{ reason: "ok", jobs: found.jobs - 1234 }, { reason: "duplicate", jobs: 1000 }, { reason: "too_slow", jobs: 234 }, { reason: "bad_signature", jobs: 0 }] : [],
    claims: { count: found.paid ? 360 : 0, paid: found.paid },
    gas: [{ what: "commit", gas: 91_234 }, { what: "report", gas: 312_456 }, { what: "claims", gas: 25_000_000 }],
    artefacts: [{ what: "manifest", cid: "bafkreimanifest", bytes: 4096 }, { what: "segment 1", cid: "bafkreisegment", bytes: 12_345_678 }],
  };
}

export function fixture(): T.Site {
  const network: T.Network = {
    version: 1, network: "saturn-demo", networkId: hex(1, 32), chainId: 31337, rpcUrl: null,
    contracts: { Commitments: address(1), Evaluations: address(2), Rewards: address(3) }, genesisS: GENESIS, epochSeconds: LENGTH,
    firstEpoch: 0, lanes: "pair_u64", laneFields: ["jobs", "bytes"], coin: "tFIL", function: "saturn-v1", publications: ["publication/"],
    measureUrl: null, madeAtS: GENESIS + EPOCHS * LENGTH - 600, block: 4242,
  };
  const found = (place: number): T.FoundNode => {
    const { id, key, payee } = node(0, place);
    return { id, key, payee, operator: payee, firstEpoch: 0, lastEpoch: EPOCHS - 1 };
  };
  return {
    network: async () => network,
    epochs: async () => Array.from({ length: EPOCHS }, (_, i) => row(i)),
    epoch: async (number) => {
      if (number >= EPOCHS) throw new Error(`epoch ${number} is not in this site`);
      return epochOf(number);
    },
    nodes: async (number) => Array.from({ length: row(number).nodes }, (_, i) => node(number, i)),
    matrix: async (number) => ({
      members, nodes: NODES,
      weight: (m, n) => (m === 3 || (m === 5 && n % 31 === 0) ? null : (node(number, n).weight ?? 0n) + ((m + n) % 53 === 0 ? 40n : 0n)),
      outlier: (m, n) => m !== 3 && (m + n) % 53 === 0,
    }),
    node: async (number, key) => Array.from({ length: row(number).nodes }, (_, i) => node(number, i)).find((one) => one.key === key) ?? null,
    jobs: async (number, place) => Array.from({ length: Math.min(200, node(number, place).jobs) }, (_, index) => ({
      index, jobId: `job-${place}-${index}`, verdict: index % 40 === 7 ? 1 : 0, late: index % 90 === 3,
      startedUs: BigInt(GENESIS + number * LENGTH + index) * 1_000_000n, endedUs: BigInt(GENESIS + number * LENGTH + index + 1) * 1_000_000n, sums: [BigInt(index) * 1000n],
    })),
    nodeProof: async () => null,
    jobProof: async () => null,
    claim: async (nodeKey) => ({
      contract: address(3), chainId: 31337, epoch: 55, nodeKey, payee: address(1), cumulative: 55n * COIN, index: 0, size: 2,
      path: [{ hash: hex(8, 32), count: 1n, total: 7n * COIN }], rewardRoot: hex(355, 32), unlockAtS: GENESIS + 57 * LENGTH, claimed: 50n * COIN,
    }),
    findNodes: async (query) => Array.from({ length: NODES }, (_, i) => found(i)).filter(({ id, key, payee }) => [id, key, payee, payee.toUpperCase()].includes(query.toLowerCase())),
    findJobs: async (jobId) => (jobId === "job-1" ? [{ jobId, nodeId: "node-00001", epoch: 40, index: 3 }] : []),
    history: async (key) => Array.from({ length: EPOCHS }, (_, epoch) => {
      const place = Array.from({ length: NODES }, (_, i) => i).find((i) => hex(i + 1, 32) === key) ?? 0;
      const { jobs, weight, amount, cumulative } = node(epoch, place);
      return { epoch, jobs, counted: Number(weight ?? 0n), weight, amount, cumulative };
    }),
    evaluators: async () => members.map((member, i) => ({
      address: member, stake: 100n * COIN, state: (["active", "active", "active", "slashed", "leaving", "standby"] as const)[i] ?? "active",
      history: Array.from({ length: EPOCHS }, (_, epoch) => ({ epoch, present: !(i === 3 && epoch > 40), agreementPpm: 999_000 - i * 1000 - (epoch % 7) * 100, reliabilityPpm: 1_000_000 - (i === 3 ? epoch * 4000 : 0), transmitted: epoch % MEMBERS === i })),
    })),
    money: async () => ({
      funded: 80_000n * COIN, allocated: 55_000n * COIN, claimed: 49_500n * COIN, dust: 432n, promised: 20_000n * COIN, fundedThrough: 79,
      sponsors: [{ address: address(500), given: 80_000n * COIN, transactions: 2 }],
      curve: Array.from({ length: EPOCHS }, (_, epoch) => ({ epoch, budget: 1000n * COIN * BigInt(epoch + 1), allocated: 980n * COIN * BigInt(epoch), claimed: 900n * COIN * BigInt(epoch) })),
    }),
    complaints: async () => [{ id: "1", epoch: 30, nodeId: "node-00003", text: "Forty of my jobs are called late, but my clock is right.", signer: address(4), atS: GENESIS + 30 * LENGTH, state: "answered", answer: "They came 12 s after the seal; they stand in epoch 31." }],
    watch: () => () => undefined,
  };
}
