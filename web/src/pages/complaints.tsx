/** What node operators complain about, and what became of it. */

import { to } from "../app/router.ts";
import { useLoad } from "../app/site.ts";
import type { Complaint } from "../data/types.ts";
import { Empty, PageTitle, Show } from "../ui/page.tsx";
import { DataTable } from "../ui/table.tsx";
import { Hex, Moment, NameLink, State } from "../ui/values.tsx";

export function ComplaintsPage() {
  const complaints = useLoad((site) => site.complaints(), []);
  return (
    <>
      <PageTitle title="Complaints" kicker="Network" lead="Signed by their authors, kept with their answers. A complaint is proved when a dispute on chain decides for it." />
      <Show of={complaints} what="the complaints">{(all) => <ComplaintTable complaints={all} />}</Show>
      <p class="gap-top">To complain, open your node's page: its form stands below the epochs. Find the node by the search above.</p>
    </>
  );
}

export function ComplaintTable({ complaints }: { complaints: Complaint[] }) {
  if (complaints.length === 0) return <Empty>Nobody has complained.</Empty>;
  return (
    <DataTable
      caption="Complaints, the newest first"
      rows={complaints}
      first={{ name: "Filed", down: true }}
      text={({ text, nodeId, epoch, state, signer }) => `${text} ${nodeId} ${epoch} ${state} ${signer}`}
      filterLabel="Text, node, epoch or state"
      empty=""
      columns={[
        { name: "Filed", cell: ({ atS }) => <Moment seconds={atS} />, order: ({ atS }) => atS },
        { name: "State", cell: ({ state }) => <State state={state} />, order: ({ state }) => state },
        { name: "Epoch", number: true, cell: ({ epoch }) => <a href={to.epoch(epoch)}>{epoch}</a>, order: ({ epoch }) => epoch },
        { name: "Node", cell: ({ nodeId }) => <NameLink name={nodeId} href={to.search(nodeId)} />, order: ({ nodeId }) => nodeId },
        { name: "Complaint and answer", cell: ({ text, answer }) => <div class="told"><p>{text}</p>{answer === null ? null : <p class="note"><strong>Answer:</strong> {answer}</p>}</div> },
        { name: "Signed by", cell: ({ signer }) => <Hex value={signer} what="the signer's address" /> },
      ]}
    />
  );
}
