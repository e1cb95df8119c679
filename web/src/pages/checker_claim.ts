/** The proof file of a claim, made from what the site says that the contract takes. */

import type { Network, Site } from "../data/types.ts";
import { type Bytes, hex, uint, utf8 } from "../verifier/bytes.ts";

/** The file as `meridian proof claim` writes it; null: the node has earned nothing yet. */
export async function claimDocument(site: Site, network: Network, nodeKey: string): Promise<Bytes | null> {
  const claim = await site.claim(nodeKey);
  if (claim === null) return null;
  const [{ reports }, [node]] = await Promise.all([site.epoch(claim.epoch), site.findNodes(nodeKey)]);
  const report = reports.find((one) => one.rewardRoot === claim.rewardRoot);
  if (report === undefined) throw new Error(`This site has no report of epoch ${claim.epoch} with the claim's reward root.`);
  const document = {
    meridian_proof: 1,
    kind: "claim",
    network: network.network,
    epoch: claim.epoch,
    ...(node?.key === claim.nodeKey ? { node_id: node.id } : {}),
    node_key: claim.nodeKey,
    payee: claim.payee,
    cumulative_atto: claim.cumulative.toString(),
    index: claim.index,
    size: claim.size,
    path: claim.path.map(({ hash, count, total }) => hash + hex(uint(count, 8)) + hex(uint(total, 16))),
    total_atto: report.total.toString(),
    reward_root: claim.rewardRoot,
  };
  return utf8(JSON.stringify(document, null, 1));
}
