/** The network at a glance: where it stands, what it has counted and paid, epoch by epoch. */

import { useMemo } from "preact/hooks";

import { SearchForm } from "../app/frame.tsx";
import { to } from "../app/router.ts";
import { useLoad, useSite } from "../app/site.ts";
import { Plot } from "../charts/plot.tsx";
import type { EpochRow } from "../data/types.ts";
import { coinsForPlot, count, dateTime, plural, span } from "../ui/format.ts";
import { Empty, Figures, PageTitle, Section, Show } from "../ui/page.tsx";
import { DataTable } from "../ui/table.tsx";
import { Term } from "../ui/term.tsx";
import { Amount, Countdown, State } from "../ui/values.tsx";

export function Overview() {
  const { network } = useSite();
  const epochs = useLoad((site) => site.epochs(), []);
  return (
    <>
      <PageTitle
        title={network.network}
        kicker="Network"
        lead={
          <>
            Every <Term word="epoch">epoch</Term> of {span(network.epochSeconds)}, the <Term word="job">jobs</Term> of all{" "}
            <Term word="node">nodes</Term> are counted, judged by independent <Term word="evaluator">evaluators</Term>, and paid in{" "}
            {network.coin}.
          </>
        }
      />
      <div class="hero">
        <p>
          <strong>Do you run a node?</strong> Find it by its id or by your address, in any letter case, <code>0x…</code> or <code>f410…</code>.
        </p>
        <SearchForm id="find-node" label="Node id, address or job id" />
      </div>
      <Show of={epochs} what="the list of epochs">
        {(rows) => (rows.length === 0 ? <Empty>No epoch has begun yet. Epoch {network.firstEpoch} is the first; this page shows it as soon as it opens.</Empty> : <Standing rows={rows} />)}
      </Show>
    </>
  );
}

function Standing({ rows }: { rows: EpochRow[] }) {
  const { network } = useSite();
  const sum = (of: (row: EpochRow) => bigint) => rows.reduce((total, row) => total + of(row), 0n);
  const jobs = rows.reduce((total, row) => total + row.jobs, 0);
  const open = rows.findLast(({ state }) => state === "open");
  const newest = rows.at(-1);
  const evaluated = rows.findLast(({ allocated }) => allocated > 0n);
  const disputes = rows.reduce((total, row) => total + row.disputes, 0);
  const waiting = rows.filter(({ state }) => state === "challenge");
  return (
    <>
      <Figures
        figures={[
          open === undefined
            ? { name: "Newest epoch", value: <a href={to.epoch(newest?.epoch ?? 0)}>{newest?.epoch ?? 0}</a>, note: <State state={newest?.state ?? ""} /> }
            : { name: "Open epoch", value: <a href={to.epoch(open.epoch)}>{open.epoch}</a>, note: <Countdown untilS={open.endS} over="has ended" /> },
          { name: "Jobs counted so far", value: count(jobs), note: plural(rows.length, "epoch") },
          { name: "Nodes in the last report", value: count(evaluated?.nodes ?? 0), note: evaluated === undefined ? "no report yet" : `epoch ${evaluated.epoch}` },
          { name: <Term word="allocated">Allocated</Term>, value: <Amount atto={sum(({ allocated }) => allocated)} focus />, note: "by all reports" },
          { name: "Claimed", value: <Amount atto={sum(({ paid }) => paid)} focus />, note: "drawn by payees" },
          { name: <Term word="challenge">In challenge window</Term>, value: waiting.length, note: disputes === 0 ? "no dispute so far" : plural(disputes, "dispute") },
        ]}
      />
      <Section title="Over time">
        <EpochPlots rows={rows} coin={network.coin} />
      </Section>
      <Section title="Epochs">
        <EpochTable rows={rows} />
      </Section>
    </>
  );
}

function EpochPlots({ rows, coin }: { rows: EpochRow[]; coin: string }) {
  const closed = useMemo(() => rows.filter(({ state }) => state !== "open" && state !== "sealed"), [rows]);
  const epochs = useMemo(() => closed.map(({ epoch }) => epoch), [closed]);
  const decided = <V,>(of: (row: EpochRow) => V) => closed.map((row) => (row.state === "committed" ? null : of(row)));
  const coins = (value: number) => `${value.toLocaleString("en", { maximumFractionDigits: 4 })} ${coin}`;
  if (closed.length === 0) return <Empty>There is nothing to plot before the first epoch is committed.</Empty>;
  return (
    <div class="columns">
      <Plot title="Jobs" note="in the commitments of each epoch" epochs={epochs} series={[{ name: "Jobs", kind: "bars", values: closed.map(({ jobs }) => jobs), text: count }]} />
      <Plot
        title={`Payouts, ${coin}`}
        note="what the report allocates, and what was claimed of it"
        epochs={epochs}
        series={[
          { name: "Allocated", values: decided(({ allocated }) => coinsForPlot(allocated)), text: coins },
          { name: "Claimed", values: decided(({ paid }) => coinsForPlot(paid)), text: coins },
        ]}
      />
      <Plot title="Nodes" note="with jobs in the epoch" epochs={epochs} series={[{ name: "Nodes", values: closed.map(({ nodes }) => nodes), text: count }]} />
      <Plot
        title="Evaluators"
        note="with a seat, and with a signature on the report"
        epochs={epochs}
        series={[
          { name: "Seats", values: closed.map(({ members }) => members), text: count },
          { name: "Signers", values: decided(({ signers }) => signers), text: count },
        ]}
      />
    </div>
  );
}

function EpochTable({ rows }: { rows: EpochRow[] }) {
  const { coin } = useSite().network;
  return (
    <DataTable
      caption="All epochs, the newest first"
      rows={rows}
      first={{ name: "Epoch", down: true }}
      text={({ epoch, state }) => `${epoch} ${state}`}
      filterLabel="Epoch or state"
      empty="No epoch yet."
      columns={[
        { name: "Epoch", cell: ({ epoch }) => <a href={to.epoch(epoch)}>{epoch}</a>, order: ({ epoch }) => epoch, number: true },
        { name: "State", cell: ({ state }) => <State state={state} />, order: ({ state }) => state },
        { name: "Ends (UTC)", cell: ({ endS }) => <time dateTime={new Date(endS * 1000).toISOString()}>{dateTime(endS)}</time>, order: ({ endS }) => endS },
        { name: "Jobs", number: true, cell: ({ jobs }) => count(jobs), order: ({ jobs }) => jobs },
        { name: "Nodes", number: true, cell: ({ nodes }) => count(nodes), order: ({ nodes }) => nodes },
        { name: `Budget, ${coin}`, term: "budget", number: true, cell: ({ budget }) => <Amount atto={budget} bare />, order: ({ budget }) => budget },
        { name: `Allocated, ${coin}`, number: true, cell: ({ allocated }) => <Amount atto={allocated} bare />, order: ({ allocated }) => allocated },
        { name: `Claimed, ${coin}`, number: true, cell: ({ paid }) => <Amount atto={paid} bare />, order: ({ paid }) => paid },
        { name: "Signers", term: "signer", number: true, cell: ({ signers, members }) => `${signers} of ${members}`, order: ({ signers }) => signers },
        { name: "Disputes", number: true, cell: ({ disputes }) => disputes, order: ({ disputes }) => disputes },
      ]}
    />
  );
}
