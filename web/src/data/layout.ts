/** Where the files of a site are, and what the pages' values look like in them. */

import { toAddress, toHex } from "./bytes.ts";
import type { Columns, Numbers } from "./columns.ts";
import type { Files } from "./files.ts";
import type * as T from "./types.ts";

export interface Index {
  chunk: number;
  history: { [chunk: string]: number };
  jobs: { name: string; shards: number }[];
  nodes: { count: number; shards: number };
  addresses: { shards: number };
}

/** What `epoch.json` says beyond what pages see: how its other files are cut. */
export interface EpochFiles {
  group: number;
  groups: number;
  jobs: boolean;
  ownTrees: boolean;
  trees: { aggregator: string; root: string; nodes: number }[];
}

export type Page = T.Epoch & { files: EpochFiles };

export const epochFolder = (epoch: number): string => `data/epoch/${String(epoch).padStart(6, "0")}`;
export const groupFile = (folder: string, name: string, group: number): string => `${folder}/${name}-${String(group).padStart(4, "0")}.col`;

/** Amounts stand as decimal text in JSON; this names them. */
const AMOUNTS = new Set(["budget", "allocated", "paid", "total", "stake", "funded", "claimed", "dust", "promised", "given"]);

/** A value with its amounts as bigint. */
export function withAmounts<V>(value: unknown): V {
  return JSON.parse(JSON.stringify(value), (key, one: unknown) => {
    if (AMOUNTS.has(key) && typeof one === "string") return BigInt(one);
    if (key === "sums" && Array.isArray(one)) return one.map((sum) => BigInt(sum as string));
    return one;
  }) as V;
}

export async function openIndex(files: Files): Promise<Index> {
  const found = (await files.json("data/index.json")) as Index | null;
  return found ?? { chunk: 128, history: {}, jobs: [], nodes: { count: 0, shards: 1 }, addresses: { shards: 1 } };
}

export function openPage(files: Files, epoch: number): Promise<Page> {
  return files.derived(`page ${epoch}`, 16_384, async () => {
    const found = await files.json(`${epochFolder(epoch)}/epoch.json`);
    if (found === null) throw new Error(`epoch ${epoch} is not in this site`);
    return withAmounts<Page>(found);
  });
}

/** Reads the rows of one file of nodes; what was not evaluated or not decided has no columns. */
export function nodeReader(file: Columns): { count: number; read(row: number): T.NodeInEpoch } {
  const first = file.facts["first"] as number;
  const [ids, keys, payees] = [file.texts("id"), file.fixed("key"), file.fixed("payee")];
  const [jobs, late] = [file.numbers("jobs"), file.numbers("late")];
  const verdicts: Numbers[] = [];
  for (let at = 0; file.has(`verdict-${at}`); at++) verdicts.push(file.numbers(`verdict-${at}`));
  const decided = file.has("weight")
    ? { weight: file.numbers("weight"), share: file.numbers("share"), amount: file.numbers("amount"), cumulative: file.numbers("cumulative") }
    : null;
  return {
    count: ids.length,
    read(row) {
      const weight = decided === null ? null : decided.weight.big(row);
      return {
        place: first + row,
        id: ids.text(row),
        key: toHex(keys.row(row)),
        payee: toAddress(payees.row(row)),
        jobs: jobs.number(row) ?? 0,
        late: late.number(row) ?? 0,
        verdicts: verdicts.length === 0 ? null : verdicts.map((one) => one.number(row) ?? 0),
        weight,
        deferred: decided !== null && weight === null,
        proportion: decided?.share.big(row) ?? 0n,
        amount: decided?.amount.big(row) ?? 0n,
        cumulative: decided?.cumulative.big(row) ?? 0n,
      };
    },
  };
}
