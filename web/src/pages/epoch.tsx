/** One epoch: what was committed, who decided it, what it pays, and what can be checked. */

import { to } from "../app/router.ts";
import { useLoad, useSite } from "../app/site.ts";
import { HeatMap } from "../charts/heat.tsx";
import type { Epoch, EpochRow, NodeInEpoch } from "../data/types.ts";
import { count, percent, plural, share } from "../ui/format.ts";
import { Empty, Figures, PageMap, PageTitle, Section, Show } from "../ui/page.tsx";
import { meaning, reasonName } from "../ui/reasons.ts";
import { DataTable } from "../ui/table.tsx";
import { Term } from "../ui/term.tsx";
import { Timeline } from "../ui/timeline.tsx";
import { Amount, Bar, Countdown, Hex, Moment, NameLink, State, Weight } from "../ui/values.tsx";
import { Commitments, Function, Gas, Reports } from "./epoch_chain.tsx";

export function EpochPage({ number }: { number: number }) {
  const epochs = useLoad((site) => site.epochs(), []);
  const rows = epochs.state === "ready" ? epochs.value : [];
  const row = rows.find(({ epoch }) => epoch === number);
  return (
    <>
      <PageTitle
        title={`Epoch ${number}`}
        kicker={<a href={to.overview()}>Network</a>}
        aside={<>{row === undefined ? null : <State state={row.state} />}<Neighbours epochs={rows} number={number} /></>}
      />
      <Show of={epochs} what="the list of epochs">
        {() => (row === undefined ? <Unknown number={number} last={rows.at(-1)?.epoch} /> : <Known number={number} />)}
      </Show>
    </>
  );
}

function Unknown({ number, last }: { number: number; last: number | undefined }) {
  return (
    <Empty>
      This network has no epoch {number} yet{last === undefined ? "" : <>; the newest is <a href={to.epoch(last)}>epoch {last}</a></>}. When it
      opens, this page shows it by itself.
    </Empty>
  );
}

function Known({ number }: { number: number }) {
  const epoch = useLoad((site) => site.epoch(number), ["epoch", number]);
  return <Show of={epoch} what={`epoch ${number}`}>{(value) => <Parts epoch={value} />}</Show>;
}

function Neighbours({ epochs, number }: { epochs: EpochRow[]; number: number }) {
  const has = (epoch: number) => epochs.some((row) => row.epoch === epoch);
  return (
    <nav class="row" aria-label="Other epochs">
      {has(number - 1) ? <a href={to.epoch(number - 1)}>← {number - 1}<span class="hidden">, the epoch before</span></a> : null}
      {has(number + 1) ? <a href={to.epoch(number + 1)}>{number + 1} →<span class="hidden">, the epoch after</span></a> : null}
    </nav>
  );
}

const SECTIONS = ["Nodes", "Verdicts", "Commitment", "Evaluation", "Report", "Disputes", "Gas and artefacts"];

function Parts({ epoch }: { epoch: Epoch }) {
  const { row } = epoch;
  const nodes = useLoad((site) => (row.nodes === 0 ? Promise.resolve([]) : site.nodes(row.epoch)), ["nodes", row.epoch, row.nodes === 0]);
  return (
    <>
      <Timeline epoch={epoch} />
      <Summary epoch={epoch} />
      <PageMap sections={SECTIONS} />
      <Section name="Nodes" title={<Term word="node">Nodes</Term>}>
        {row.nodes === 0 ? (
          <Empty>{row.state === "open" ? "The epoch is open: its nodes are known when it is sealed." : "No node has jobs in this epoch."}</Empty>
        ) : (
          <Show of={nodes} what="the nodes of the epoch">{(value) => <NodesTable epoch={row.epoch} nodes={value} />}</Show>
        )}
      </Section>
      <Section name="Verdicts" title={<Term word="verdict">Verdicts</Term>}>
        <Verdicts epoch={epoch} />
      </Section>
      <Section name="Commitment" title={<Term word="commitment">Commitment</Term>}>
        <Commitments epoch={epoch} />
      </Section>
      <Section title="Evaluation">
        <Function epoch={epoch} />
        <Committee epoch={epoch} nodes={nodes.state === "ready" ? nodes.value : []} />
      </Section>
      <Section name="Report" title={<Term word="report">Report</Term>}>
        <Reports epoch={epoch} />
      </Section>
      <Section title="Disputes">
        <Disputes epoch={epoch} />
      </Section>
      <Section title="Gas and artefacts">
        <Gas epoch={epoch} />
      </Section>
    </>
  );
}

function Summary({ epoch: { row, claims, verdicts } }: { epoch: Epoch }) {
  const counted = verdicts[0]?.jobs;
  const judged = verdicts.reduce((total, { jobs }) => total + jobs, 0);
  return (
    <Figures
      figures={[
        { name: <Term word="job">Jobs</Term>, value: count(row.jobs), note: counted === undefined || judged === 0 ? "not judged yet" : `${percent(Math.round((counted / judged) * 1e6))} counted` },
        { name: "Nodes", value: count(row.nodes) },
        { name: <Term word="budget">Budget</Term>, value: <Amount atto={row.budget} focus /> },
        { name: <Term word="allocated">Allocated</Term>, value: <Amount atto={row.allocated} focus />, note: row.allocated === 0n ? "no report yet" : <>left over: <Amount atto={row.budget - row.allocated} /></> },
        { name: "Claimed", value: <Amount atto={claims.paid} focus />, note: plural(claims.count, "claim") },
        { name: <Term word="challenge">Challenge window</Term>, value: row.unlockAtS === null ? "–" : <Countdown untilS={row.unlockAtS} over="is over" />, note: row.unlockAtS === null ? "begins with the report" : <>until <Moment seconds={row.unlockAtS} /></> },
      ]}
    />
  );
}

function NodesTable({ epoch, nodes }: { epoch: number; nodes: NodeInEpoch[] }) {
  const { network } = useSite();
  const counted = (node: NodeInEpoch) => node.verdicts?.[0] ?? null;
  return (
    <DataTable
      caption={`${plural(nodes.length, "node")} with jobs in the epoch`}
      rows={nodes}
      text={({ id, key, payee }) => `${id} ${key} ${payee}`}
      filterLabel="Node id, key or payee"
      first={{ name: `Reward, ${network.coin}`, down: true }}
      empty="No node has jobs in this epoch."
      columns={[
        { name: "Node", cell: ({ id, key }) => <NameLink name={id} href={to.node(key, epoch)} />, order: ({ id }) => id },
        { name: "Jobs", number: true, cell: ({ jobs }) => count(jobs), order: ({ jobs }) => jobs },
        { name: "Counted", number: true, cell: (node) => { const many = counted(node); return many === null ? "–" : count(many); }, order: counted },
        { name: "Late", term: "late", number: true, cell: ({ late }) => count(late), order: ({ late }) => late },
        { name: "Weight", term: "weight", number: true, cell: ({ weight, deferred }) => (weight === null ? (deferred ? "deferred" : "–") : <Weight weight={weight} />), order: ({ weight }) => weight },
        { name: "Proportion", term: "proportion", number: true, cell: ({ weight, proportion }) => (weight === null ? "–" : share(proportion)), order: ({ weight, proportion }) => (weight === null ? null : proportion) },
        { name: `Reward, ${network.coin}`, number: true, cell: ({ amount, weight }) => (weight === null ? "–" : <Amount atto={amount} bare />), order: ({ amount }) => amount },
      ]}
    />
  );
}

function Verdicts({ epoch: { verdicts, row } }: { epoch: Epoch }) {
  const judged = verdicts.reduce((total, { jobs }) => total + jobs, 0);
  const none = verdicts.filter(({ jobs }, i) => jobs === 0 && i > 0).map(({ reason }) => reasonName(reason));
  if (judged === 0) return <Empty>{row.jobs === 0 ? "There are no jobs to judge yet." : "The evaluators have not decided yet."}</Empty>;
  return (
    <>
      <DataTable
        caption="Jobs by verdict"
        rows={verdicts.filter(({ jobs }, i) => jobs > 0 || i === 0)}
        empty=""
        columns={[
          { name: "Verdict", cell: ({ reason }) => reasonName(reason) },
          { name: "Jobs", number: true, cell: ({ jobs }) => count(jobs), order: ({ jobs }) => jobs },
          { name: "Share", cell: ({ jobs, reason }) => <><Bar part={jobs / judged} kind={reason === "ok" ? "" : "not"} /><span class="small quiet">{percent(Math.round((jobs / judged) * 1e6))}</span></> },
          { name: "What it means", wide: true, cell: ({ reason }) => meaning(reason) },
        ]}
      />
      {none.length === 0 ? null : <p class="small quiet gap-top">No job has: {none.join("; ")}.</p>}
    </>
  );
}

function Committee({ epoch, nodes }: { epoch: Epoch; nodes: NodeInEpoch[] }) {
  const { row, members } = epoch;
  const matrix = useLoad((site) => (epoch.blockHash === null ? Promise.resolve(null) : site.matrix(row.epoch)), ["matrix", row.epoch, epoch.blockHash]);
  const signers = new Set(epoch.reports.find(({ standing }) => standing)?.signers);
  return (
    <>
      <h3><Term word="committee">Committee</Term></h3>
      <DataTable
        caption="Evaluators with a seat in this epoch"
        rows={members}
        empty="The committee is fixed when the epoch opens; this site does not name it yet."
        columns={[
          { name: "Evaluator", cell: ({ member }) => <Hex value={member} what="the evaluator's address" href={to.evaluator(member)} />, order: ({ member }) => member },
          { name: "Row", term: "row", cell: ({ present }) => (present ? "in the block" : row.allocated > 0n ? "missing" : "not yet"), order: ({ present }) => Number(present) },
          { name: "Agreement", term: "agreement", number: true, cell: ({ present, agreementPpm }) => (present ? percent(agreementPpm) : "–"), order: ({ present, agreementPpm }) => (present ? agreementPpm : null) },
          { name: "Outliers", term: "outlier", number: true, cell: ({ present, outliers }) => (present ? count(outliers) : "–"), order: ({ outliers }) => outliers },
          { name: "Signed the report", cell: ({ member }) => (signers.size === 0 ? "–" : signers.has(member) ? "yes" : "no"), order: ({ member }) => Number(signers.has(member)) },
        ]}
      />
      <h3>Weights, evaluators by nodes</h3>
      <Show of={matrix} what="the matrix of weights">
        {(value) => (value === null || value.nodes === 0 ? <Empty>No block is decided yet. It holds one row of weights from each evaluator, and is drawn here.</Empty> : <HeatMap epoch={row.epoch} matrix={value} nodes={nodes} members={members} />)}
      </Show>
    </>
  );
}

function Disputes({ epoch: { disputes } }: { epoch: Epoch }) {
  if (disputes.length === 0) return <p>Nobody has accused anybody in this epoch. Anyone can, with a proof, while the <Term word="challenge">challenge window</Term> is open.</p>;
  return (
    <DataTable
      caption="Accusations and how they ended"
      rows={disputes}
      empty=""
      columns={[
        { name: "Kind", cell: ({ kind }) => kind },
        { name: "Accused", cell: ({ accused }) => <Hex value={accused} what="the accused account" /> },
        { name: "Accuser", cell: ({ accuser }) => <Hex value={accuser} what="the accuser's account" /> },
        { name: "Outcome", cell: ({ outcome }) => outcome },
        { name: "Transaction", cell: ({ transaction }) => (transaction === null ? "–" : <Hex value={transaction.hash} what="the transaction's hash" />) },
      ]}
    />
  );
}

