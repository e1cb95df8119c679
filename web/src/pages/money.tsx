/** The sponsor's page: what was promised, where it went, how long it lasts. */

import { to } from "../app/router.ts";
import { useLoad, useSite } from "../app/site.ts";
import { Plot } from "../charts/plot.tsx";
import type { EpochRow, Money, Network } from "../data/types.ts";
import { coinsForPlot, count, percent, plural, span } from "../ui/format.ts";
import { Empty, Facts, Figures, PageTitle, Section, Show } from "../ui/page.tsx";
import { DataTable } from "../ui/table.tsx";
import { Term } from "../ui/term.tsx";
import { Amount, Bar, Hex, Moment } from "../ui/values.tsx";

export function MoneyPage() {
  const money = useLoad((site) => site.money(), []);
  const epochs = useLoad((site) => site.epochs(), []);
  return (
    <>
      <PageTitle
        title="Money"
        kicker="Network"
        lead={<><Term word="sponsor">Sponsors</Term> fund epochs in advance. What is promised cannot be taken back, and no epoch can pay more than its <Term word="budget">budget</Term>.</>}
      />
      <Show of={money} what="the accounts">
        {(value) => (value.funded === 0n ? <Empty>Nobody has funded this network yet. A sponsor funds many epochs with one transaction.</Empty> : <Accounts money={value} epochs={epochs.state === "ready" ? epochs.value : []} />)}
      </Show>
    </>
  );
}

/** When the last funded epoch ends: counted on from an epoch whose end is known. */
function fundedUntil({ genesisS, firstEpoch, epochSeconds }: Network, { fundedThrough }: Money, known: EpochRow | undefined): number {
  const { epoch, endS } = known ?? { epoch: firstEpoch, endS: genesisS + epochSeconds };
  return endS + (fundedThrough - epoch) * epochSeconds;
}

function Accounts({ money, epochs }: { money: Money; epochs: EpochRow[] }) {
  const { network } = useSite();
  const until = fundedUntil(network, money, epochs.at(-1));
  const left = until - network.madeAtS;
  const next = epochs.at(-1)?.epoch ?? network.firstEpoch;
  return (
    <>
      <Figures
        figures={[
          { name: "Funded in all", value: <Amount atto={money.funded} focus />, note: plural(money.sponsors.length, "sponsor") },
          { name: "Promised to epochs to come", value: <Amount atto={money.promised} focus />, note: `through epoch ${money.fundedThrough}` },
          { name: <Term word="allocated">Allocated by reports</Term>, value: <Amount atto={money.allocated} focus /> },
          { name: "Claimed", value: <Amount atto={money.claimed} focus />, note: <>not drawn yet: <Amount atto={money.allocated - money.claimed} /></> },
          { name: <Term word="runway">Runway</Term>, value: left > 0 ? span(left) : "over", note: left > 0 ? `${plural(Math.max(0, money.fundedThrough - next + 1), "epoch")} to go` : "no funded epoch is left" },
        ]}
      />
      {left > 0 ? null : <p class="error">The last funded epoch is over. Until somebody funds more, epochs have no budget and nodes earn nothing.</p>}
      <Section title="Where it went">
        <Breakdown money={money} />
      </Section>
      <Section title="Over time">
        <Curve money={money} coin={network.coin} />
      </Section>
      <Section title="Runway">
        <Facts
          facts={[
            ["Funded through", <>epoch {money.fundedThrough}</>],
            ["That is until", <Moment seconds={until} />],
            ["Each epoch lasts", span(network.epochSeconds)],
          ]}
        />
      </Section>
      <Section title="Sponsors">
        <DataTable
          caption="Who funded the network"
          rows={money.sponsors}
          empty="No sponsor is known to this site."
          columns={[
            { name: "Sponsor", cell: ({ address }) => <Hex value={address} what="the sponsor's address" />, order: ({ address }) => address },
            { name: "Given", number: true, cell: ({ given }) => <Amount atto={given} />, order: ({ given }) => given },
            { name: "Share", number: true, cell: ({ given }) => percent(Number((given * 1_000_000n) / money.funded)), order: ({ given }) => given },
            { name: "Transactions", number: true, cell: ({ transactions }) => count(transactions), order: ({ transactions }) => transactions },
          ]}
        />
      </Section>
    </>
  );
}

function Breakdown({ money }: { money: Money }) {
  const waiting = money.funded - money.allocated - money.promised - money.dust;
  const rows = [
    { name: "Claimed by payees", value: money.claimed, note: "paid out" },
    { name: "Allocated, not yet drawn", value: money.allocated - money.claimed, note: "locked in a challenge window, or not claimed" },
    { name: "Promised to epochs to come", value: money.promised, note: "cannot be taken back" },
    { name: "Dust", value: money.dust, note: "left over by rounding and by what nobody earned; stays in the pool" },
    { name: "In epochs without a report", value: waiting > 0n ? waiting : 0n, note: "still measured or evaluated, or rolled forward" },
  ];
  return (
    <DataTable
      caption="Parts of what was funded"
      rows={rows}
      empty=""
      columns={[
        { name: "Part", cell: ({ name }) => name },
        { name: "Amount", number: true, cell: ({ value }) => <Amount atto={value} /> },
        { name: "Share", cell: ({ value }) => { const ppm = Number((value * 1_000_000n) / money.funded); return <><Bar part={ppm / 1e6} /><span class="small quiet">{percent(ppm)}</span></>; } },
        { name: "What that is", wide: true, cell: ({ note }) => note },
      ]}
    />
  );
}

function Curve({ money, coin }: { money: Money; coin: string }) {
  const coins = (value: number) => `${value.toLocaleString("en", { maximumFractionDigits: 4 })} ${coin}`;
  if (money.curve.length === 0) return <Empty>No epoch has a budget yet. <a href={to.overview()}>The network</a></Empty>;
  return (
    <Plot
      title={`Budgets, allocated and claimed, ${coin}`}
      note="added up from the first epoch on"
      epochs={money.curve.map(({ epoch }) => epoch)}
      series={[
        { name: "Budgets", values: money.curve.map(({ budget }) => coinsForPlot(budget)), text: coins },
        { name: "Allocated", values: money.curve.map(({ allocated }) => coinsForPlot(allocated)), text: coins },
        { name: "Claimed", values: money.curve.map(({ claimed }) => coinsForPlot(claimed)), text: coins },
      ]}
    />
  );
}
