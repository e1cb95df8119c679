/** The `Site` over the files of a site directory, from a plain web server or from `meridian web`. */

import { firstNotBefore, fromHex, order, shardFile, shardOf } from "./bytes.ts";
import type { Numbers } from "./columns.ts";
import { Files, overHttp, type Read } from "./files.ts";
import { epochFolder, groupFile, nodeReader, openIndex, openPage, withAmounts } from "./layout.ts";
import type * as T from "./types.ts";
import { watchOver } from "./watch.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Opens the site at a URL, by default beside the page. */
export function openSite(base = ""): T.Site {
  const files = new Files(overHttp(base));
  return { ...siteOver(files), watch: watchOver(base, () => files.forget()) };
}

/** Opens a site whose files come from anywhere; it is told of changes by nobody. */
export function siteFrom(read: Read): T.Site {
  return { ...siteOver(new Files(read)), watch: () => () => undefined };
}

async function found<V>(files: Files, path: string): Promise<V> {
  const value = await files.json(path);
  if (value === null) throw new Error(`${path} is missing: this is no site, or it is still being made`);
  return withAmounts<V>(value);
}

async function allEpochs(files: Files): Promise<T.EpochRow[]> {
  const file = await files.named("data/epochs.col");
  const states = file.facts["states"] as T.EpochState[];
  const columns = new Map<string, ReturnType<typeof file.numbers>>();
  const number = (name: string, row: number) => {
    if (!columns.has(name)) columns.set(name, file.numbers(name));
    return columns.get(name)?.number(row) ?? null;
  };
  const [budget, allocated, paid] = [file.numbers("budget"), file.numbers("allocated"), file.numbers("paid")];
  return Array.from({ length: file.rows("epoch") }, (_, row) => ({
    epoch: number("epoch", row) ?? 0,
    state: states[number("state", row) ?? 0] ?? "open",
    endS: number("end_s", row) ?? 0,
    jobs: number("jobs", row) ?? 0,
    nodes: number("nodes", row) ?? 0,
    members: number("members", row) ?? 0,
    signers: number("signers", row) ?? 0,
    budget: budget.big(row) ?? 0n,
    allocated: allocated.big(row) ?? 0n,
    paid: paid.big(row) ?? 0n,
    unlockAtS: number("unlock_at_s", row),
    disputes: number("disputes", row) ?? 0,
  }));
}

async function allNodes(files: Files, epoch: number): Promise<T.NodeInEpoch[]> {
  const page = await openPage(files, epoch);
  const groups = Array.from({ length: page.files.groups }, (_, group) => files.named(groupFile(epochFolder(epoch), "nodes", group)));
  const nodes: T.NodeInEpoch[] = [];
  for (const file of await Promise.all(groups)) {
    const reader = nodeReader(file);
    for (let row = 0; row < reader.count; row++) nodes.push(reader.read(row));
  }
  return nodes;
}

async function nodeAt(files: Files, epoch: number, place: number): Promise<T.NodeInEpoch> {
  const page = await openPage(files, epoch);
  const file = await files.named(groupFile(epochFolder(epoch), "nodes", Math.floor(place / page.files.group)));
  const reader = nodeReader(file);
  const row = place % page.files.group;
  if (row >= reader.count) throw new Error(`epoch ${epoch} has no node ${place}`);
  return reader.read(row);
}

async function nodeOf(files: Files, epoch: number, nodeKey: string): Promise<T.NodeInEpoch | null> {
  const key = fromHex(nodeKey);
  // Asked for together: one after the other they are two round trips.
  const [page, groups] = await Promise.all([openPage(files, epoch), files.columns(`${epochFolder(epoch)}/groups.col`)]);
  if (groups === null || page.files.groups === 0) return null;
  const firsts = groups.fixed("first");
  const behind = firstNotBefore(firsts.length, key, firsts.row);
  const group = behind < firsts.length && order(firsts.row(behind), key) === 0 ? behind : Math.max(0, behind - 1);
  const file = await files.named(groupFile(epochFolder(epoch), "nodes", group));
  const keys = file.fixed("key");
  const row = firstNotBefore(keys.length, key, keys.row);
  return row < keys.length && order(keys.row(row), key) === 0 ? nodeReader(file).read(row) : null;
}

async function matrixOf(files: Files, epoch: number): Promise<T.Matrix> {
  const file = await files.named(`${epochFolder(epoch)}/matrix.col`);
  const [decided, present, said, outlier] = ["weight", "present", "said", "outlier"].map((name) => file.numbers(name)) as [Numbers, Numbers, Numbers, Numbers];
  const [member, node] = [file.numbers("member"), file.numbers("node")];
  const nodes = decided.length;
  const other = new Map<number, number>();
  for (let row = 0; row < member.length; row++) other.set((member.number(row) ?? 0) * nodes + (node.number(row) ?? 0), row);
  return {
    members: file.facts["members"] as string[],
    nodes,
    weight(at, place) {
      if (present.number(at) !== 1) return null;
      const row = other.get(at * nodes + place);
      return row === undefined ? decided.big(place) : said.big(row);
    },
    outlier(at, place) {
      const row = other.get(at * nodes + place);
      return row !== undefined && outlier.number(row) === 1;
    },
  };
}

async function jobsOf(files: Files, network: T.Network, epoch: number, place: number): Promise<T.JobRow[] | null> {
  const page = await openPage(files, epoch);
  if (!page.files.jobs) return null;
  const nodes = await files.named(groupFile(epochFolder(epoch), "nodes", Math.floor(place / page.files.group)));
  const row = place % page.files.group;
  const file = await files.named(groupFile(epochFolder(epoch), "jobs", nodes.numbers("job_file").number(row) ?? 0));
  const first = nodes.numbers("job_at").number(row) ?? 0;
  const [ids, flags, started, ended] = [file.texts("id"), file.numbers("flags"), file.numbers("started_us"), file.numbers("ended_us")];
  const verdict = file.has("verdict") ? file.numbers("verdict") : null;
  const sums = (network.laneFields.length > 0 ? network.laneFields : ["-"]).map((_, at) => file.numbers(`sum-${at}`));
  return Array.from({ length: nodes.numbers("jobs").number(row) ?? 0 }, (_, index) => ({
    index,
    jobId: ids.text(first + index),
    verdict: verdict?.number(first + index) ?? null,
    late: ((flags.number(first + index) ?? 0) & 1) === 1,
    startedUs: started.big(first + index) ?? 0n,
    endedUs: ended.big(first + index) ?? 0n,
    sums: sums.map((one) => one.big(first + index) ?? 0n),
  }));
}

async function historyOf(files: Files, nodeKey: string): Promise<T.NodeHistoryRow[]> {
  const key = fromHex(nodeKey);
  const { history } = await openIndex(files);
  const chunks = Object.entries(history).sort(([a], [b]) => Number(a) - Number(b));
  const shards = await Promise.all(
    chunks.map(([chunk, shards]) => files.columns(shardFile(`data/history/${chunk.padStart(6, "0")}`, shardOf(key, shards)))),
  );
  const rows: T.NodeHistoryRow[] = [];
  for (const file of shards) {
    if (file === null) continue;
    const keys = file.fixed("key");
    const at = firstNotBefore(keys.length, key, keys.row);
    if (at >= keys.length || order(keys.row(at), key) !== 0) continue;
    const ends = file.numbers("end");
    const [epoch, jobs, counted] = [file.numbers("epoch"), file.numbers("jobs"), file.numbers("counted")];
    const [weight, amount, cumulative] = [file.numbers("weight"), file.numbers("amount"), file.numbers("cumulative")];
    for (let row = at === 0 ? 0 : (ends.number(at - 1) ?? 0); row < (ends.number(at) ?? 0); row++) {
      rows.push({
        epoch: epoch.number(row) ?? 0,
        jobs: jobs.number(row) ?? 0,
        counted: counted.number(row) ?? 0,
        weight: weight.big(row),
        amount: amount.big(row) ?? 0n,
        cumulative: cumulative.big(row) ?? 0n,
      });
    }
  }
  // Who looks at a history looks at the newest evaluated epoch next: its files come while the history is drawn.
  const newest = rows.findLast((row) => row.weight !== null);
  if (newest !== undefined) nodeOf(files, newest.epoch, nodeKey).catch(() => undefined);
  return rows;
}

async function allEvaluators(files: Files): Promise<T.Evaluator[]> {
  const known = await found<Omit<T.Evaluator, "history">[]>(files, "data/evaluators.json");
  const all = new Map(known.map((one) => [one.address, { ...one, history: [] as T.Evaluator["history"] }]));
  const file = await files.columns("data/evaluators.col");
  if (file === null) return [...all.values()];
  const addresses = file.texts("address");
  const [member, epoch, present] = [file.numbers("member"), file.numbers("epoch"), file.numbers("present")];
  const [agreement, reliability, transmitted] = [file.numbers("agreement_ppm"), file.numbers("reliability_ppm"), file.numbers("transmitted")];
  for (let row = 0; row < member.length; row++) {
    const address = addresses.text(member.number(row) ?? 0);
    if (!all.has(address)) all.set(address, { address, stake: 0n, state: "standby", history: [] });
    all.get(address)?.history.push({
      epoch: epoch.number(row) ?? 0,
      present: present.number(row) === 1,
      agreementPpm: agreement.number(row) ?? 0,
      reliabilityPpm: reliability.number(row) ?? 0,
      transmitted: transmitted.number(row) === 1,
    });
  }
  return [...all.values()];
}

async function foundJobs(files: Files, network: T.Network, jobId: string): Promise<T.FoundJob[]> {
  const { FOUND_MAX, jobPlaces } = await import("./search.ts");
  const jobs: T.FoundJob[] = [];
  const seen = new Set<string>();
  for (const { epoch, place, index } of (await jobPlaces(files, jobId)).slice(0, FOUND_MAX)) {
    // An entry of the index is a hint: what was replaced on chain since is not there any more.
    const name = `${epoch} ${place} ${index}`;
    const rows = await jobsOf(files, network, epoch, place).catch(() => null);
    if (rows?.[index]?.jobId !== jobId || seen.has(name)) continue;
    seen.add(name);
    jobs.push({ jobId, nodeId: (await nodeAt(files, epoch, place)).id, epoch, index });
  }
  return jobs;
}

function siteOver(files: Files): Omit<T.Site, "watch"> {
  const network = () => found<T.Network>(files, "data/network.json");
  const proofs = async () => {
    const { Proofs } = await import("./proofs.ts");
    return new Proofs(files, await network());
  };
  const complaints = async () => ((await files.json("data/complaints.json")) as T.Complaint[] | null) ?? [];
  return {
    network,
    epochs: () => files.derived("epochs", 256 * 1024, () => allEpochs(files)),
    epoch: (epoch) => openPage(files, epoch),
    nodes: (epoch) => files.derived(`nodes ${epoch}`, 8 << 20, () => allNodes(files, epoch)),
    node: (epoch, nodeKey) => nodeOf(files, epoch, nodeKey),
    matrix: (epoch) => files.derived(`matrix ${epoch}`, 1 << 20, () => matrixOf(files, epoch)),
    jobs: async (epoch, place) => jobsOf(files, await network(), epoch, place),
    nodeProof: async (epoch, place): Promise<Bytes | null> => {
      const node = await nodeAt(files, epoch, place);
      return (await proofs()).node(epoch, node, fromHex(node.key));
    },
    jobProof: async (epoch, place, index): Promise<Bytes | null> => {
      const [node, jobs] = [await nodeAt(files, epoch, place), await jobsOf(files, await network(), epoch, place)];
      const job = jobs?.[index];
      return job === undefined ? null : (await proofs()).job(epoch, node, fromHex(node.key), job.jobId);
    },
    claim: async (nodeKey) => {
      const [{ claimOf }, { nodeByKey }] = await Promise.all([import("./claims.ts"), import("./search.ts")]);
      const key = fromHex(nodeKey);
      return claimOf(files, await network(), key, (await nodeByKey(files, key))?.claimed ?? 0n);
    },
    findNodes: async (query) => (await import("./search.ts")).findNodes(files, query),
    findJobs: async (jobId) => foundJobs(files, await network(), jobId),
    history: (nodeKey) => historyOf(files, nodeKey),
    evaluators: () => files.derived("evaluators", 4 << 20, () => allEvaluators(files)),
    money: () => found<T.Money>(files, "data/money.json"),
    complaints: async (epoch) => (await complaints()).filter((one) => epoch === undefined || one.epoch === epoch),
  };
}

