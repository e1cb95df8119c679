/** What stands on chain for an epoch, and the published bytes that it names. */

import type { ComponentChildren } from "preact";

import { to } from "../app/router.ts";
import { useSite } from "../app/site.ts";
import type { Commitment, Epoch, Report, SelfCommitment, Transaction } from "../data/types.ts";
import { bytesText, count, plural } from "../ui/format.ts";
import { Empty, Facts } from "../ui/page.tsx";
import { DataTable } from "../ui/table.tsx";
import { Term } from "../ui/term.tsx";
import { Amount, Countdown, Hex, Moment, NameLink } from "../ui/values.tsx";

function Sent({ transaction }: { transaction: Transaction | null }) {
  if (transaction === null) return <>not known to this site</>;
  return (
    <>
      <Hex value={transaction.hash} what="the transaction's hash" /> in block {count(transaction.block)}, <Moment seconds={transaction.atS} />, {count(transaction.gas)} gas
    </>
  );
}

export function Commitments({ epoch }: { epoch: Epoch }) {
  const { commitments, selfCommitments, row } = epoch;
  if (commitments.length === 0 && selfCommitments.length === 0) {
    return <Empty>Nothing is committed yet. {row.state === "open" ? "The epoch must end first." : "The aggregator puts one root over all jobs on chain."}</Empty>;
  }
  return (
    <>
      <p>These figures are on chain and cannot change. Every job of the epoch can be proven to be in this root, or not to be.</p>
      {commitments.map((commitment) => <One commitment={commitment} />)}
      {selfCommitments.length === 0 ? null : <OwnNodes rows={selfCommitments} />}
    </>
  );
}

function One({ commitment }: { commitment: Commitment }) {
  const { network } = useSite();
  return (
    <Facts
      facts={[
        [<Term word="aggregator">Aggregator</Term>, <><Hex value={commitment.aggregator} what="the aggregator's address" />{commitment.standing ? null : <strong> – void</strong>}</>],
        [<Term word="root">Root</Term>, <Hex value={commitment.root} what="the root" />],
        ["Jobs and nodes", `${plural(commitment.jobs, "job")} of ${plural(commitment.nodes, "node")}`],
        ...commitment.sums.map((sum, i): [string, string] | null => (network.laneFields[i] ? [`Sum of ${network.laneFields[i]}`, count(sum)] : null)),
        [<Term word="manifest">Manifest</Term>, <Hex value={commitment.manifest} what="the manifest's digest" />],
        ["Transaction", <Sent transaction={commitment.transaction} />],
      ]}
    />
  );
}

function OwnNodes({ rows }: { rows: SelfCommitment[] }) {
  return (
    <DataTable
      caption="Nodes that committed their own jobs"
      rows={rows}
      text={({ nodeId, nodeKey }) => `${nodeId} ${nodeKey}`}
      empty=""
      columns={[
        { name: "Node", cell: ({ nodeId, nodeKey }) => <NameLink name={nodeId ?? nodeKey} href={to.node(nodeKey)} />, order: ({ nodeId }) => nodeId },
        { name: "Jobs", number: true, cell: ({ jobs }) => count(jobs), order: ({ jobs }) => jobs },
        { name: "Segment", cell: ({ segment }) => <Hex value={segment} what="the segment's digest" /> },
        { name: "Gas", number: true, cell: ({ transaction }) => (transaction === null ? "–" : count(transaction.gas)) },
      ]}
    />
  );
}

/** An address is only followed if it is of this site, or of the web. */
function safe(source: string): string | null {
  return /^(https:\/\/|[\w./-]+$)/.test(source) && !source.startsWith("//") ? source : null;
}

export function Function({ epoch }: { epoch: Epoch }) {
  const { name, cid, digest, source } = epoch.function;
  const link = source === null ? null : safe(source);
  return (
    <Facts
      facts={[
        [<Term word="function">Function</Term>, <><strong>{name}</strong>{link === null ? null : <>, <a href={link}>read its source</a></>}</>],
        [<Term word="CID">CID of the function</Term>, cid === "" ? null : <Hex value={cid} what="the function's CID" />],
        [<Term word="digest">Digest on chain</Term>, <Hex value={digest} what="the function's digest" />],
        ["Parameters", <Hex value={epoch.parameters} what="the digest of the parameters" />],
        ...epoch.inputs.map(({ name: input, cid: digestOf }): [string, ComponentChildren] => [`Input ${input}`, <Hex value={digestOf} what={`the CID of ${input}`} />]),
        epoch.blockHash === null ? null : [<Term word="block">Block</Term>, <Hex value={epoch.blockHash} what="the block's hash" />],
      ]}
    />
  );
}

export function Reports({ epoch }: { epoch: Epoch }) {
  if (epoch.reports.length === 0) return <Empty>There is no report yet. The evaluators agree on one block first; then one of them brings the report with a <Term word="quorum">quorum</Term> of signatures.</Empty>;
  return <>{epoch.reports.map((report) => <OneReport report={report} members={epoch.row.members} />)}</>;
}

function OneReport({ report, members }: { report: Report; members: number }) {
  return (
    <Facts
      facts={[
        ["Report", <><Hex value={report.hash} what="the report's hash" />{report.standing ? null : <strong> – void</strong>}</>],
        ["Follows", /^0+$/.test(report.previous) ? "no other: it is the first" : <Hex value={report.previous} what="the hash of the report before" />],
        ["Sum of all claims", <><Amount atto={report.total} focus /> <span class="quiet small">since the network began, this epoch included</span></>],
        [<Term word="root">Root of the claims</Term>, <Hex value={report.rewardRoot} what="the root of the claims" />],
        ["Root of the verdicts", <Hex value={report.verdictRoot} what="the root of the verdicts" />],
        [<Term word="signer">Signers</Term>, <SignerList signers={report.signers} members={members} />],
        [<Term word="transmitter">Transmitter</Term>, <Hex value={report.transmitter} what="the transmitter's address" href={to.evaluator(report.transmitter)} />],
        ["Claims unlock", <><Moment seconds={report.unlockAtS} /> (<Countdown untilS={report.unlockAtS} over="unlocked" />)</>],
        ["Transaction", <Sent transaction={report.transaction} />],
      ]}
    />
  );
}

function SignerList({ signers, members }: { signers: string[]; members: number }) {
  return (
    <details>
      <summary>{signers.length} of {members}</summary>
      <ul>{signers.map((signer) => <li><Hex value={signer} what="the signer's address" href={to.evaluator(signer)} /></li>)}</ul>
    </details>
  );
}

export function Gas({ epoch }: { epoch: Epoch }) {
  const total = epoch.gas.reduce((sum, { gas }) => sum + gas, 0);
  return (
    <div class="columns">
      <DataTable
        caption={<><Term word="gas">Gas</Term> of the epoch's transactions: {count(total)} in all</>}
        rows={epoch.gas}
        empty="No transaction of this epoch is known yet."
        columns={[
          { name: "What", cell: ({ what }) => what },
          { name: "Gas", number: true, cell: ({ gas }) => count(gas), order: ({ gas }) => gas },
        ]}
      />
      <DataTable
        caption={<>Published <Term word="artefact">artefacts</Term></>}
        rows={epoch.artefacts}
        text={({ what, cid }) => `${what} ${cid}`}
        empty="Nothing of this epoch is published yet."
        columns={[
          { name: "Artefact", cell: ({ what }) => what, order: ({ what }) => what },
          { name: "CID", cell: ({ cid }) => <Hex value={cid} what="the CID" /> },
          { name: "Size", number: true, cell: ({ bytes }) => (bytes === null ? "–" : bytesText(bytes)), order: ({ bytes }) => bytes },
        ]}
      />
    </div>
  );
}
