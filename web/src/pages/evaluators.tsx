/** The evaluators: who is well, who is missing. And one of them over time. */

import { to } from "../app/router.ts";
import { useLoad } from "../app/site.ts";
import { Plot } from "../charts/plot.tsx";
import type { Evaluator } from "../data/types.ts";
import { count, percent, plural } from "../ui/format.ts";
import { Empty, Facts, Figures, PageTitle, Section, Show } from "../ui/page.tsx";
import { DataTable } from "../ui/table.tsx";
import { Term } from "../ui/term.tsx";
import { Amount, Hex, State } from "../ui/values.tsx";

const RECENT = 10;
const HEALTHY_PPM = 990_000;

interface Health {
  present: number;
  of: number;
  agreementPpm: number | null;
  reliabilityPpm: number | null;
}

/** Of the last ten epochs in which it had a seat. */
function health({ history }: Evaluator): Health {
  const recent = history.slice(-RECENT);
  const there = recent.filter(({ present }) => present);
  const agreementPpm = there.length === 0 ? null : Math.round(there.reduce((sum, row) => sum + row.agreementPpm, 0) / there.length);
  return { present: there.length, of: recent.length, agreementPpm, reliabilityPpm: history.findLast(({ present }) => present)?.reliabilityPpm ?? null };
}

/** What an operator wants to know first, in words. */
function standing(evaluator: Evaluator): { well: boolean; text: string } {
  const { present, of, agreementPpm } = health(evaluator);
  if (evaluator.state === "slashed") return { well: false, text: "slashed: it lost its stake and is out for good" };
  if (evaluator.state === "leaving") return { well: true, text: "leaving: no new seats" };
  if (of === 0) return { well: true, text: evaluator.state === "standby" ? "stands by" : "has had no seat yet" };
  if (evaluator.history.at(-1)?.present === false) return { well: false, text: "its last row is missing" };
  if (present < of) return { well: false, text: `${plural(of - present, "row")} missing in the last ${of}` };
  if (agreementPpm !== null && agreementPpm < HEALTHY_PPM) return { well: false, text: "its weights often differ from the decided ones" };
  return { well: true, text: "well" };
}

export function EvaluatorsPage() {
  const evaluators = useLoad((site) => site.evaluators(), []);
  return (
    <>
      <PageTitle
        title="Evaluators"
        kicker="Network"
        lead={<>Each <Term word="evaluator">evaluator</Term> computes all weights alone; what a <Term word="quorum">quorum</Term> of them signs goes on chain.</>}
      />
      <Show of={evaluators} what="the evaluators">{(all) => (all.length === 0 ? <Empty>Nobody has registered as an evaluator yet.</Empty> : <List all={all} />)}</Show>
    </>
  );
}

function List({ all }: { all: Evaluator[] }) {
  const unwell = all.filter((evaluator) => !standing(evaluator).well);
  return (
    <>
      <p class={unwell.length === 0 ? "ok" : "error"}>
        {unwell.length === 0 ? `All ${plural(all.length, "evaluator")} are well.` : `${plural(unwell.length, "evaluator")} of ${all.length} ${unwell.length === 1 ? "needs" : "need"} a look; they come first.`}
      </p>
      <DataTable
        caption={`All evaluators; rows and agreement are of the last ${RECENT} epochs with a seat`}
        rows={all}
        text={({ address, state }) => `${address} ${state}`}
        filterLabel="Address or state"
        first={{ name: "Standing", down: false }}
        empty=""
        columns={[
          { name: "Evaluator", cell: ({ address }) => <Hex value={address} what="the evaluator's address" href={to.evaluator(address)} />, order: ({ address }) => address },
          { name: "Standing", cell: (one) => { const { well, text } = standing(one); return <span class={well ? "state state-active" : "state state-slashed"}>{text}</span>; }, order: (one) => `${standing(one).well ? 1 : 0}${one.address}` },
          { name: "State", cell: ({ state }) => state, order: ({ state }) => state },
          { name: "Stake", term: "stake", number: true, cell: ({ stake }) => <Amount atto={stake} />, order: ({ stake }) => stake },
          { name: "Rows", term: "row", number: true, cell: (one) => { const { present, of } = health(one); return of === 0 ? "–" : `${present} of ${of}`; }, order: (one) => health(one).present },
          { name: "Agreement", term: "agreement", number: true, cell: (one) => { const { agreementPpm } = health(one); return agreementPpm === null ? "–" : percent(agreementPpm); }, order: (one) => health(one).agreementPpm },
          { name: "Reliability", term: "reliability", number: true, cell: (one) => { const { reliabilityPpm } = health(one); return reliabilityPpm === null ? "–" : percent(reliabilityPpm); }, order: (one) => health(one).reliabilityPpm },
        ]}
      />
    </>
  );
}

export function EvaluatorPage({ address }: { address: string }) {
  const evaluators = useLoad((site) => site.evaluators(), []);
  const found = evaluators.state === "ready" ? evaluators.value.find((one) => one.address.toLowerCase() === address.toLowerCase()) : undefined;
  return (
    <>
      <PageTitle title="Evaluator" kicker={<a href={to.evaluators()}>Evaluators</a>} aside={found === undefined ? null : <State state={found.state} />} />
      <Show of={evaluators} what="the evaluators">
        {() => (found === undefined ? <Empty>No evaluator of this network has the address <code>{address}</code>. <a href={to.evaluators()}>All evaluators</a></Empty> : <One evaluator={found} />)}
      </Show>
    </>
  );
}

function One({ evaluator }: { evaluator: Evaluator }) {
  const { history } = evaluator;
  const now = health(evaluator);
  const { well, text } = standing(evaluator);
  const shares = (value: number) => `${value.toFixed(2)} %`;
  return (
    <>
      <p class={well ? "ok" : "error"}>{well ? "Standing: " : "Needs a look: "}{text}.</p>
      <Facts facts={[["Address", <Hex value={evaluator.address} what="the evaluator's address" />], [<Term word="stake">Stake</Term>, <Amount atto={evaluator.stake} focus />]]} />
      <Figures
        figures={[
          { name: <Term word="row">Rows</Term>, value: now.of === 0 ? "–" : `${now.present} of ${now.of}`, note: `last ${RECENT} epochs with a seat` },
          { name: <Term word="agreement">Agreement</Term>, value: now.agreementPpm === null ? "–" : percent(now.agreementPpm), note: "of these rows, on average" },
          { name: <Term word="reliability">Reliability</Term>, value: now.reliabilityPpm === null ? "–" : percent(now.reliabilityPpm), note: "when its last row was judged" },
          { name: <Term word="transmitter">Reports brought</Term>, value: count(history.filter(({ transmitted }) => transmitted).length), note: `of ${plural(history.length, "epoch")}` },
        ]}
      />
      <Section title="Over time">
        {history.length === 0 ? <Empty>It has had no seat yet.</Empty> : (
          <Plot
            title="Agreement and reliability, per cent"
            note="gaps: its row is missing"
            epochs={history.map(({ epoch }) => epoch)}
            series={[
              { name: "Agreement", values: history.map(({ present, agreementPpm }) => (present ? agreementPpm / 10_000 : null)), text: shares },
              { name: "Reliability", values: history.map(({ present, reliabilityPpm }) => (present ? reliabilityPpm / 10_000 : null)), text: shares },
            ]}
            range={[0, 105]}
          />
        )}
      </Section>
      <Section title="Rows">
        <DataTable
          caption="Epochs with a seat, the newest first"
          rows={history}
          first={{ name: "Epoch", down: true }}
          text={({ epoch, present }) => `${epoch} ${present ? "in the block" : "missing"}`}
          filterLabel="Epoch, or “missing”"
          empty="It has had no seat yet."
          columns={[
            { name: "Epoch", number: true, cell: ({ epoch }) => <a href={to.epoch(epoch)}>{epoch}</a>, order: ({ epoch }) => epoch },
            { name: "Row", cell: ({ present }) => (present ? "in the block" : <strong class="state state-slashed">missing</strong>), order: ({ present }) => Number(present) },
            { name: "Agreement", number: true, cell: ({ present, agreementPpm }) => (present ? percent(agreementPpm) : "–"), order: ({ present, agreementPpm }) => (present ? agreementPpm : null) },
            { name: "Reliability", number: true, cell: ({ present, reliabilityPpm }) => (present ? percent(reliabilityPpm) : "–"), order: ({ present, reliabilityPpm }) => (present ? reliabilityPpm : null) },
            { name: "Brought the report", cell: ({ transmitted }) => (transmitted ? "yes" : ""), order: ({ transmitted }) => Number(transmitted) },
          ]}
        />
      </Section>
    </>
  );
}
