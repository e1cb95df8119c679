/**
 * Proof files made in the page from what a site stores, byte for byte as `meridian proof -o` writes them.
 *
 * Nothing here is believed either: a proof is checked like one from anywhere else.
 */

import { type Bytes, concat, sha256, tagged, uint, utf8 } from "../verifier/bytes.ts";
import { type Lanes, NODE_BYTES, parent, TAGS } from "../verifier/tree.ts";
import { firstNotBefore, toHex } from "./bytes.ts";
import type { Columns } from "./columns.ts";
import type { Files } from "./files.ts";
import { epochFolder, groupFile, openPage, type Page } from "./layout.ts";
import type * as T from "./types.ts";

interface Leaf {
  row: Bytes;
  index: number;
  size: number;
  path: Bytes[];
}

/** A place in the tree of one commitment. */
interface Place {
  tree: number;
  /** Its group's file. */
  file: Columns;
  row: number;
  index: number;
}

/** The siblings of a leaf, from the leaf up, in a tree of these leaves. */
export function pathIn(leaves: Bytes[], index: number, tag: number, lanes: Lanes): Bytes[] {
  const path: Bytes[] = [];
  let level = leaves;
  let at = index;
  while (level.length > 1) {
    const sibling = level[at ^ 1];
    if (sibling !== undefined) path.push(sibling);
    const above: Bytes[] = [];
    for (let i = 0; i + 1 < level.length; i += 2) above.push(parent(tag, level[i] as Bytes, level[i + 1] as Bytes, lanes));
    if (level.length % 2) above.push(level[level.length - 1] as Bytes);
    level = above;
    at >>= 1;
  }
  return path;
}

/** Path of a leaf whose group and the nodes above the groups are at hand. */
export function groupedPath(leaves: Bytes[], row: number, top: Columns, group: number, tag: number, lanes: Lanes): Bytes[] {
  const nodes = top.fixed("node");
  const above = Array.from({ length: nodes.length }, (_, at) => nodes.row(at));
  return [...pathIn(leaves, row, tag, lanes), ...pathIn(above, group, tag, lanes)];
}

function nodeRow(file: Columns, row: number, schema: number, epoch: number): Bytes {
  const head = concat(uint(BigInt(schema), 2), uint(0n, 2), uint(BigInt(epoch), 4));
  return concat(head, file.fixed("key").row(row), file.fixed("payee").row(row), file.fixed("job_root").row(row));
}

/** Rows of jobs as their trees have them. */
function jobRow(file: Columns, at: number, schema: number, lanes: Lanes): Bytes {
  const number = (name: string, width: number) => uint(file.numbers(name).big(at) ?? 0n, width);
  const sums = lanes === "u128" ? number("sum-0", 16) : concat(number("sum-0", 8), number("sum-1", 8));
  return concat(
    uint(BigInt(schema), 2), number("flags", 2), sha256(utf8(file.texts("id").text(at))),
    number("started_us", 8), number("ended_us", 8), sums, file.fixed("private").row(at),
  );
}

export class Proofs {
  constructor(private readonly files: Files, private readonly network: T.Network) {}

  async node(epoch: number, node: T.NodeInEpoch, key: Bytes): Promise<Uint8Array<ArrayBuffer> | null> {
    const page = await openPage(this.files, epoch);
    const place = await this.find(page, epoch, node.place, key);
    if (place === null) return null;
    const leaf = await this.nodeLeaf(page, epoch, place);
    return this.write(page, epoch, "node", place, { node_id: node.id }, { node: leaf });
  }

  async job(epoch: number, node: T.NodeInEpoch, key: Bytes, jobId: string): Promise<Uint8Array<ArrayBuffer> | null> {
    const page = await openPage(this.files, epoch);
    const place = await this.find(page, epoch, node.place, key);
    if (place === null || !page.files.jobs) return null;
    const job = await this.jobLeaf(page, epoch, place, jobId);
    if (job === null) return null;
    const leaf = await this.nodeLeaf(page, epoch, place);
    return this.write(page, epoch, "job", place, { node_id: node.id, job_id: jobId }, { job, node: leaf });
  }

  /** The node in the first commitment that has it; null: in none. */
  private async find(page: Page, epoch: number, index: number, key: Bytes): Promise<Place | null> {
    const folder = epochFolder(epoch);
    const { ownTrees, group, trees } = page.files;
    if (!ownTrees) {
      if (trees.length === 0) return null;
      const number = Math.floor(index / group);
      return { tree: 0, file: await this.files.named(groupFile(folder, "nodes", number)), row: index % group, index };
    }
    for (const tree of trees.keys()) {
      const firsts = (await this.files.named(`${folder}/top-${tree}.col`)).fixed("first");
      const behind = firstNotBefore(firsts.length, key, firsts.row);
      const is = behind < firsts.length && toHex(firsts.row(behind)) === toHex(key);
      const number = is ? behind : behind - 1;
      if (number < 0) continue;
      const file = await this.files.named(groupFile(folder, `tree-${tree}`, number));
      const keys = file.fixed("key");
      const row = firstNotBefore(keys.length, key, keys.row);
      if (row < keys.length && toHex(keys.row(row)) === toHex(key)) return { tree, file, row, index: number * group + row };
    }
    return null;
  }

  private async schema(epoch: number): Promise<number> {
    return (await this.files.named(groupFile(epochFolder(epoch), "nodes", 0))).facts["schema"] as number;
  }

  private async nodeLeaf(page: Page, epoch: number, { tree, file, row, index }: Place): Promise<Leaf> {
    const schema = await this.schema(epoch);
    const top = await this.files.named(`${epochFolder(epoch)}/top-${tree}.col`);
    const group = Math.floor(index / page.files.group);
    const count = file.rows("key");
    const leaves = await this.files.derived(`leaves ${epoch} ${tree} ${group}`, count * NODE_BYTES * 2, async () =>
      Array.from({ length: count }, (_, at) => {
        const own = nodeRow(file, at, schema, epoch);
        return concat(tagged(TAGS.nodeLeaf, own), own.subarray(own.length - 24));
      }),
    );
    const path = groupedPath(leaves, row, top, group, TAGS.nodeNode, this.network.lanes);
    return { row: nodeRow(file, row, schema, epoch), index, size: page.files.trees[tree]?.nodes ?? 0, path };
  }

  private async jobLeaf(page: Page, epoch: number, { tree, file, row }: Place, jobId: string): Promise<Leaf | null> {
    const schema = await this.schema(epoch);
    const { lanes } = this.network;
    const name = page.files.ownTrees ? `tree-${tree}-jobs` : "jobs";
    const jobs = await this.files.named(groupFile(epochFolder(epoch), name, file.numbers("job_file").number(row) ?? 0));
    const first = file.numbers("job_at").number(row) ?? 0;
    const size = Number(countIn(file.fixed("job_root").row(row)));
    const rows = Array.from({ length: size }, (_, at) => jobRow(jobs, first + at, schema, lanes));
    const key = toHex(sha256(utf8(jobId)));
    const index = rows.findIndex((one) => toHex(one.subarray(4, 36)) === key);
    if (index < 0) return null;
    const leaves = rows.map((one) => concat(tagged(TAGS.jobLeaf, one), uint(1n, 8), one.subarray(52, 68)));
    return { row: rows[index] as Bytes, index, size, path: pathIn(leaves, index, TAGS.jobNode, lanes) };
  }

  private write(
    page: Page, epoch: number, kind: string, { tree }: Place, about: { [name: string]: string }, leaves: { [name: string]: Leaf },
  ): Uint8Array<ArrayBuffer> {
    const shown = Object.fromEntries(Object.entries(leaves).map(([name, leaf]) => [name, { ...leaf, row: toHex(leaf.row), path: leaf.path.map(toHex) }]));
    const value = {
      meridian_proof: 1, kind, network: this.network.network, epoch, ...about, lanes: this.network.lanes, ...shown,
      committed_root: page.files.trees[tree]?.root ?? "",
    };
    return new TextEncoder().encode(pythonJson(value));
  }
}

function countIn(node: Bytes): bigint {
  return node.subarray(32, 40).reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/** JSON as Python writes it with two spaces: only ASCII, and a line feed at the end. */
export function pythonJson(value: unknown): string {
  const text = JSON.stringify(value, null, 2).replace(/[\u007f-\uffff]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return `${text}\n`;
}
