/** What a node can claim: its leaf in the newest claim trees, with the path that the contract checks. */

import { type Bytes, concat, tagged, toUint, uint } from "../verifier/bytes.ts";
import { TAGS } from "../verifier/tree.ts";
import { firstNotBefore, toAddress, toHex } from "./bytes.ts";
import type { Files } from "./files.ts";
import { groupFile, withAmounts } from "./layout.ts";
import { groupedPath } from "./proofs.ts";
import type * as T from "./types.ts";

const GROUP = 1024;

interface Tree {
  epoch: number;
  rewardRoot: string;
  total: bigint;
  size: number;
  unlockAtS: number;
}

/** The claim under each tree that the site keeps, oldest first. */
async function claims(files: Files, network: T.Network, key: Bytes, claimed: bigint): Promise<T.Claim[]> {
  const { reports } = withAmounts<{ reports: Tree[] }>((await files.json("data/claims.json")) ?? { reports: [] });
  const found: T.Claim[] = [];
  for (const tree of reports) {
    const folder = `data/claims/${String(tree.epoch).padStart(6, "0")}`;
    const top = await files.named(`${folder}/top.col`);
    const firsts = top.fixed("first");
    const behind = firstNotBefore(firsts.length, key, firsts.row);
    const group = behind < firsts.length && toHex(firsts.row(behind)) === toHex(key) ? behind : behind - 1;
    if (group < 0) continue;
    const file = await files.named(groupFile(folder, "claims", group));
    const [keys, payees, amounts] = [file.fixed("key"), file.fixed("payee"), file.numbers("cumulative")];
    const row = firstNotBefore(keys.length, key, keys.row);
    if (row >= keys.length || toHex(keys.row(row)) !== toHex(key)) continue;
    const leaves = Array.from({ length: keys.length }, (_, at) => {
      const amount = uint(amounts.big(at) ?? 0n, 16);
      return concat(tagged(TAGS.claimLeaf, keys.row(at), payees.row(at), amount), uint(1n, 8), amount);
    });
    const path = groupedPath(leaves, row, top, group, TAGS.claimNode, "u128");
    found.push({
      contract: network.contracts["rewards"] ?? "",
      chainId: network.chainId,
      epoch: tree.epoch,
      nodeKey: toHex(key),
      payee: toAddress(payees.row(row)),
      cumulative: amounts.big(row) ?? 0n,
      index: group * GROUP + row,
      size: tree.size,
      path: path.map((node) => ({ hash: toHex(node.subarray(0, 32)), count: toUint(node.subarray(32, 40)), total: toUint(node.subarray(40)) })),
      rewardRoot: tree.rewardRoot,
      unlockAtS: tree.unlockAtS,
      claimed,
    });
  }
  return found;
}

/** The newest claim that pays something now, else the newest at all. */
export async function claimOf(files: Files, network: T.Network, key: Bytes, claimed: bigint): Promise<T.Claim | null> {
  const found = await claims(files, network, key, claimed);
  const now = Math.max(network.madeAtS, Math.floor(Date.now() / 1000));
  const paying = found.filter((one) => one.unlockAtS <= now && one.cumulative > claimed);
  return paying.at(-1) ?? found.at(-1) ?? null;
}
