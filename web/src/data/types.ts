/**
 * What the pages know: the contract between the files of a site and the pages.
 *
 * A site is a plain directory. Its index files follow from publications and chain and can be made anew at any time
 * (`meridian web build`); nothing in them is believed where a proof says more. Amounts are in atto, as bigint; times are
 * Unix seconds of the chain; digests and addresses are lower-case hex with 0x only in front of addresses.
 */

export type EpochState =
  | "open" // jobs are taken
  | "sealed" // it has ended, nothing is committed yet
  | "committed" // evaluators are at work
  | "challenge" // reported, the window is open
  | "paid" // claims are payable
  | "void" // its reports were voided and none stands
  | "abandoned"; // nobody can report it any more: its budget has rolled forward

export interface Network {
  version: 1;
  network: string;
  networkId: string;
  chainId: number;
  /** Where the page may ask the chain; null: nowhere is stated. */
  rpcUrl: string | null;
  contracts: { [name: string]: string };
  genesisS: number;
  epochSeconds: number;
  firstEpoch: number;
  lanes: "pair_u64" | "u128";
  /** Names of what the sums of a tree add up; empty names are not used. */
  laneFields: string[];
  /** Coin of the amounts, with 18 decimals: FIL, ETH, tFIL. */
  coin: string;
  function: string;
  /** URL prefixes of publications, relative to the site; the measure service's first. */
  publications: string[];
  /** Of the measure service's proof API; null: proofs come from files only. */
  measureUrl: string | null;
  /** The chain's time and block when the site was made. */
  madeAtS: number;
  block: number;
}

/** One epoch in the list of all. */
export interface EpochRow {
  epoch: number;
  state: EpochState;
  endS: number;
  jobs: number;
  nodes: number;
  members: number;
  signers: number;
  budget: bigint;
  /** What the report allocates; 0 without a report. */
  allocated: bigint;
  /** What was claimed under its report and those before, as far as it was paid for this epoch. */
  paid: bigint;
  unlockAtS: number | null;
  disputes: number;
}

export interface Transaction {
  hash: string;
  block: number;
  gas: number;
  atS: number;
  from: string;
}

export interface Commitment {
  aggregator: string;
  root: string;
  nodes: number;
  jobs: number;
  sums: bigint[];
  manifest: string;
  standing: boolean;
  transaction: Transaction | null;
}

export interface SelfCommitment {
  nodeKey: string;
  nodeId: string | null;
  jobs: number;
  sums: bigint[];
  segment: string;
  transaction: Transaction | null;
}

export interface Report {
  hash: string;
  previous: string;
  rewardRoot: string;
  verdictRoot: string;
  total: bigint;
  signers: string[];
  transmitter: string;
  unlockAtS: number;
  transaction: Transaction | null;
  standing: boolean;
}

export interface Dispute {
  kind: string;
  accused: string;
  accuser: string;
  outcome: string;
  transaction: Transaction | null;
}

export interface MemberRow {
  member: string;
  /** Whether its row is in the decided block. */
  present: boolean;
  /** CID of the row's body; null where it is missing. */
  body: string | null;
  /** Share of the nodes in which its weight is the decided one, in millionths. */
  agreementPpm: number;
  outliers: number;
}

/** Everything of one epoch but the nodes themselves. */
export interface Epoch {
  row: EpochRow;
  openedS: number | null;
  commitments: Commitment[];
  selfCommitments: SelfCommitment[];
  function: { name: string; digest: string; cid: string; source: string | null };
  parameters: string;
  inputs: { name: string; cid: string }[];
  members: MemberRow[];
  blockHash: string | null;
  reports: Report[];
  disputes: Dispute[];
  /** Names of the verdicts, the counted one first, and how many jobs have each. */
  verdicts: { reason: string; jobs: number }[];
  claims: { count: number; paid: bigint };
  gas: { what: string; gas: number }[];
  artefacts: { what: string; cid: string; bytes: number | null }[];
}

/** One node in one epoch. */
export interface NodeInEpoch {
  place: number;
  id: string;
  key: string;
  payee: string;
  jobs: number;
  late: number;
  /** Jobs by verdict, as `Epoch.verdicts` names them; null: not evaluated yet. */
  verdicts: number[] | null;
  /** Null: deferred, or not decided yet. */
  weight: bigint | null;
  deferred: boolean;
  /** Its share of the epoch's weight, in units of 10^-18. */
  proportion: bigint;
  amount: bigint;
  cumulative: bigint;
}

/** One job of a node in one epoch, as far as a site keeps them. */
export interface JobRow {
  /** Its place among the node's jobs: that of its leaf in the job tree. */
  index: number;
  jobId: string;
  /** Place in `Epoch.verdicts`; null: not evaluated yet. */
  verdict: number | null;
  late: boolean;
  startedUs: bigint;
  endedUs: bigint;
  /** What it adds to the sums, as `Network.laneFields` names them. */
  sums: bigint[];
}

/** A sibling on the way from a claim to the reward root: what the contract's `path` has of a node. */
export interface ClaimPathNode {
  /** 32 bytes, hex without 0x. */
  hash: string;
  /** Claims below the node, and what they come to. */
  count: bigint;
  total: bigint;
}

/** Everything that `Rewards.claim(epoch, node_key, payee, cumulative, index, size, path)` is called with. */
export interface Claim {
  /** Address of Rewards. */
  contract: string;
  chainId: number;
  epoch: number;
  nodeKey: string;
  payee: string;
  cumulative: bigint;
  index: number;
  size: number;
  path: ClaimPathNode[];
  rewardRoot: string;
  unlockAtS: number;
  /** What the node had been paid when the site was made; the chain knows better. */
  claimed: bigint;
}

/** Weights of the decided block: one row for each member, one column for each node, both in the epoch's order. */
export interface Matrix {
  members: string[];
  nodes: number;
  /** Null: the member's row is missing, or it says nothing about the node. */
  weight(member: number, node: number): bigint | null;
  outlier(member: number, node: number): boolean;
}

/** One epoch of one node's history. */
export interface NodeHistoryRow {
  epoch: number;
  jobs: number;
  counted: number;
  weight: bigint | null;
  amount: bigint;
  cumulative: bigint;
}

export interface FoundNode {
  id: string;
  key: string;
  operator: string;
  payee: string;
  firstEpoch: number;
  lastEpoch: number;
}

export interface FoundJob {
  jobId: string;
  nodeId: string;
  epoch: number;
  index: number;
}

export interface Evaluator {
  address: string;
  stake: bigint;
  state: "active" | "leaving" | "slashed" | "standby";
  /** One entry for each epoch in which it had a seat. */
  history: { epoch: number; present: boolean; agreementPpm: number; reliabilityPpm: number; transmitted: boolean }[];
}

export interface Money {
  funded: bigint;
  /** Budgets of epochs that are reported, allocated to nodes and members. */
  allocated: bigint;
  claimed: bigint;
  /** Left over by rounding and by what nobody earned; stays in the pool. */
  dust: bigint;
  /** Funded for epochs that are still to come. */
  promised: bigint;
  /** The last epoch that has a budget. */
  fundedThrough: number;
  sponsors: { address: string; given: bigint; transactions: number }[];
  /** Promised, allocated and claimed, cumulative, by epoch. */
  curve: { epoch: number; budget: bigint; allocated: bigint; claimed: bigint }[];
}

export interface Complaint {
  id: string;
  epoch: number;
  nodeId: string;
  text: string;
  signer: string;
  atS: number;
  state: "open" | "answered" | "proved";
  answer: string | null;
}

/** Where the pages get their data: from the files of a site, or from files and a live server. */
export interface Site {
  network(): Promise<Network>;
  epochs(): Promise<EpochRow[]>;
  epoch(epoch: number): Promise<Epoch>;
  nodes(epoch: number): Promise<NodeInEpoch[]>;
  /** One node of an epoch, without reading the others; null: it has no jobs there. */
  node(epoch: number, nodeKey: string): Promise<NodeInEpoch | null>;
  matrix(epoch: number): Promise<Matrix>;
  /** The jobs of the node at a place; null: the epoch has more jobs than the site keeps. */
  jobs(epoch: number, place: number): Promise<JobRow[] | null>;
  /**
   * The proof file of a node, byte for byte as `meridian proof node -o` writes it; null: neither the files nor a
   * measure service have it (the node's jobs are committed by nobody but itself, or nothing is committed yet).
   */
  nodeProof(epoch: number, place: number): Promise<Uint8Array<ArrayBuffer> | null>;
  /** The same of one of its jobs (`meridian proof job`). */
  jobProof(epoch: number, place: number, index: number): Promise<Uint8Array<ArrayBuffer> | null>;
  /**
   * What the node can claim: under the newest report whose window is over where that pays anything, else under the
   * newest report. Null: it never earned anything.
   */
  claim(nodeKey: string): Promise<Claim | null>;
  /** By node id, node key (hex), or address in any letter case and form (0x, f410): all nodes that match, at most 50. */
  findNodes(query: string): Promise<FoundNode[]>;
  findJobs(jobId: string): Promise<FoundJob[]>;
  history(nodeKey: string): Promise<NodeHistoryRow[]>;
  evaluators(): Promise<Evaluator[]>;
  money(): Promise<Money>;
  complaints(epoch?: number): Promise<Complaint[]>;
  /** Calls back when something has changed, if a server tells; returns how to stop. */
  watch(changed: (epoch: number | null) => void): () => void;
}
