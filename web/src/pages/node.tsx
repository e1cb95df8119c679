/** One node: what was counted of it and why, what it earned, how to check that, and how to draw it. */

import { Lazy } from "../app/lazy.tsx";
import { to } from "../app/router.ts";
import { useLoad, useSite } from "../app/site.ts";
import { Plot } from "../charts/plot.tsx";
import type { FoundNode, NodeHistoryRow } from "../data/types.ts";
import { coinsForPlot, count, plural } from "../ui/format.ts";
import { Empty, Facts, Figures, PageTitle, Section, Show } from "../ui/page.tsx";
import { DataTable } from "../ui/table.tsx";
import { Term } from "../ui/term.tsx";
import { Amount, Hex, Weight } from "../ui/values.tsx";
import { ComplaintTable } from "./complaints.tsx";
import { NodeEpoch } from "./node_epoch.tsx";

export function NodePage({ nodeKey, epoch }: { nodeKey: string; epoch: number | null }) {
  const node = useLoad(async (site) => (await site.findNodes(nodeKey)).find(({ key }) => key === nodeKey) ?? null, ["node", nodeKey]);
  const history = useLoad((site) => site.history(nodeKey), ["history", nodeKey]);
  const found = node.state === "ready" ? node.value : null;
  return (
    <>
      <PageTitle title={found?.id ?? "Node"} kicker="Node" />
      {node.state === "failed" ? <Show of={node} what="the index of nodes">{() => null}</Show> : null}
      {found === null ? null : <Who node={found} />}
      <Show of={history} what="the node's history">
        {(rows) => (rows.length === 0 ? <Unknown nodeKey={nodeKey} /> : <Parts nodeKey={nodeKey} node={found} rows={rows} wanted={epoch} />)}
      </Show>
    </>
  );
}

function Unknown({ nodeKey }: { nodeKey: string }) {
  return (
    <Empty>
      No epoch of this site has a node with the key <code>{nodeKey}</code>. Look for the node by its id or its operator's address in the search
      above; a node appears when its first epoch is sealed.
    </Empty>
  );
}

function Who({ node }: { node: FoundNode }) {
  return (
    <Facts
      facts={[
        [<Term word="nodeKey">Node key</Term>, <Hex value={node.key} what="the node key" />],
        node.operator === "" ? null : ["Operator", <Hex value={node.operator} what="the operator's address" href={to.search(node.operator)} />],
        [<Term word="payee">Payee</Term>, <Hex value={node.payee} what="the payee's address" href={to.search(node.payee)} />],
        ["Epochs", <><a href={to.epoch(node.firstEpoch)}>{node.firstEpoch}</a> to <a href={to.epoch(node.lastEpoch)}>{node.lastEpoch}</a></>],
      ]}
    />
  );
}

function Parts({ nodeKey, node, rows, wanted }: { nodeKey: string; node: FoundNode | null; rows: NodeHistoryRow[]; wanted: number | null }) {
  const { network } = useSite();
  const last = rows.at(-1);
  const evaluated = rows.findLast(({ weight }) => weight !== null);
  const epoch = wanted ?? evaluated?.epoch ?? last?.epoch ?? 0;
  const earned = rows.reduce((total, { amount }) => total + amount, 0n);
  const jobs = rows.reduce((total, row) => total + row.jobs, 0);
  const coins = (value: number) => `${value.toLocaleString("en", { maximumFractionDigits: 6 })} ${network.coin}`;
  return (
    <>
      <Figures
        figures={[
          { name: "Earned in all", value: <Amount atto={earned} focus />, note: plural(rows.length, "epoch") },
          { name: "Last reward", value: evaluated === undefined ? "–" : <Amount atto={evaluated.amount} focus />, note: evaluated === undefined ? "not evaluated yet" : `epoch ${evaluated.epoch}` },
          { name: "Jobs in all", value: count(jobs), note: `${count(rows.reduce((total, { counted }) => total + counted, 0))} counted` },
        ]}
      />
      <Section title={<>Draw what is due: the <Term word="claim">claim</Term></>}>
        <ClaimSlot nodeKey={nodeKey} />
      </Section>
      <NodeEpoch nodeKey={nodeKey} epoch={epoch} rows={rows} />
      <Section title="Epoch by epoch">
        <div class="columns">
          <Plot title={`Reward, ${network.coin}`} note="in each epoch" epochs={rows.map((row) => row.epoch)} series={[{ name: "Reward", kind: "bars", values: rows.map(({ amount, weight }) => (weight === null ? null : coinsForPlot(amount))), text: coins }]} />
          <Plot title="Jobs" note="measured, and counted by the evaluators" epochs={rows.map((row) => row.epoch)} series={[{ name: "Measured", values: rows.map((row) => row.jobs), text: count }, { name: "Counted", values: rows.map((row) => (row.weight === null ? null : row.counted)), text: count }]} />
        </div>
        <HistoryTable nodeKey={nodeKey} rows={rows} />
      </Section>
      <Section title="Complain about an epoch">
        <p>If a figure is wrong and the proofs do not explain it, say so. Your wallet signs the text, everybody can read it, and the answer stands beside it.</p>
        {node === null ? null : <OwnComplaints nodeId={node.id} />}
        <Lazy what="the form" load={async () => (await import("../wallet/complaint.tsx")).ComplaintForm} props={{ epoch, nodeId: node?.id ?? nodeKey }} />
      </Section>
    </>
  );
}

function ClaimSlot({ nodeKey }: { nodeKey: string }) {
  const claim = useLoad((site) => site.claim(nodeKey), ["claim", nodeKey]);
  return (
    <Show of={claim} what="the claim">
      {(value) => (value === null ? <Empty>There is nothing to claim yet: no report with this node stands on chain.</Empty> : <Lazy what="the wallet" load={async () => (await import("../wallet/claim.tsx")).ClaimButton} props={{ claim: value }} />)}
    </Show>
  );
}

/** What was complained of about this node so far. */
function OwnComplaints({ nodeId }: { nodeId: string }) {
  const all = useLoad((site) => site.complaints(), []);
  const own = all.state === "ready" ? all.value.filter((complaint) => complaint.nodeId === nodeId) : [];
  return own.length === 0 ? null : <ComplaintTable complaints={own} />;
}

function HistoryTable({ nodeKey, rows }: { nodeKey: string; rows: NodeHistoryRow[] }) {
  const { coin } = useSite().network;
  return (
    <div class="gap-top">
      <DataTable
        caption="The node's epochs, the newest first"
        rows={rows}
        first={{ name: "Epoch", down: true }}
        text={({ epoch }) => String(epoch)}
        filterLabel="Epoch"
        empty="No epoch yet."
        columns={[
          { name: "Epoch", number: true, cell: ({ epoch }) => <a href={to.node(nodeKey, epoch)}>{epoch}</a>, order: ({ epoch }) => epoch },
          { name: "Jobs", number: true, cell: ({ jobs }) => count(jobs), order: ({ jobs }) => jobs },
          { name: "Counted", number: true, cell: ({ counted, weight }) => (weight === null ? "–" : count(counted)), order: ({ counted }) => counted },
          { name: "Weight", term: "weight", number: true, cell: ({ weight }) => (weight === null ? "–" : <Weight weight={weight} />), order: ({ weight }) => weight },
          { name: `Reward, ${coin}`, number: true, cell: ({ amount, weight }) => (weight === null ? "–" : <Amount atto={amount} bare />), order: ({ amount }) => amount },
          { name: `In the claim, ${coin}`, term: "claim" as const, number: true, cell: ({ cumulative }) => <Amount atto={cumulative} bare />, order: ({ cumulative }) => cumulative },
        ]}
      />
    </div>
  );
}
