/** A node in one epoch: its jobs by verdict, how its reward follows from them, its proofs and its jobs. */

import { useState } from "preact/hooks";

import { Lazy } from "../app/lazy.tsx";
import { to } from "../app/router.ts";
import { inFileName, saveFile } from "../app/saving.ts";
import { useLoad, useSite } from "../app/site.ts";
import type { Epoch, JobRow, NodeHistoryRow, NodeInEpoch } from "../data/types.ts";
import { count, percent, plural, share } from "../ui/format.ts";
import { Empty, Facts, Section, Show } from "../ui/page.tsx";
import { meaning, reasonName } from "../ui/reasons.ts";
import { DataTable } from "../ui/table.tsx";
import { Term } from "../ui/term.tsx";
import { Amount, Bar, Moment, NameLink, State } from "../ui/values.tsx";

interface Props {
  nodeKey: string;
  epoch: number;
  rows: NodeHistoryRow[];
}

export function NodeEpoch({ nodeKey, epoch, rows }: Props) {
  const node = useLoad((site) => site.node(epoch, nodeKey), ["node in epoch", epoch, nodeKey]);
  const whole = useLoad((site) => site.epoch(epoch), ["epoch", epoch]);
  return (
    <Section title={<>In epoch {epoch}</>}>
      <div class="row">
        <OtherEpochs nodeKey={nodeKey} epoch={epoch} rows={rows} />
        <a href={to.epoch(epoch)}>All of epoch {epoch}</a>
        {whole.state === "ready" ? <State state={whole.value.row.state} /> : null}
      </div>
      <Show of={node} what={`the node in epoch ${epoch}`}>
        {(found) =>
          found === null ? (
            <Empty>The node has no job in epoch {epoch}. Its epochs are in the table below.</Empty>
          ) : (
            <Show of={whole} what={`epoch ${epoch}`}>{(value) => <Parts node={found} epoch={value} />}</Show>
          )
        }
      </Show>
    </Section>
  );
}

/** The node's epochs before and after; all of them are in the table below. */
function OtherEpochs({ nodeKey, epoch, rows }: Props) {
  const before = rows.findLast((row) => row.epoch < epoch)?.epoch;
  const after = rows.find((row) => row.epoch > epoch)?.epoch;
  return (
    <nav class="row" aria-label="Other epochs of the node">
      {before === undefined ? null : <a href={to.node(nodeKey, before)}>← {before}<span class="hidden">, the node's epoch before</span></a>}
      {after === undefined ? null : <a href={to.node(nodeKey, after)}>{after} →<span class="hidden">, the node's epoch after</span></a>}
    </nav>
  );
}

function Parts({ node, epoch }: { node: NodeInEpoch; epoch: Epoch }) {
  return (
    <>
      <h3>Jobs by <Term word="verdict">verdict</Term></h3>
      <ByVerdict node={node} epoch={epoch} />
      <h3>How the reward follows</h3>
      <Reward node={node} epoch={epoch} />
      <h3>Check it yourself</h3>
      <Proofs node={node} epoch={epoch} />
      <h3>Your receipts</h3>
      <Receipts epoch={epoch} />
      <h3>Jobs</h3>
      <Jobs node={node} epoch={epoch} />
    </>
  );
}

function ByVerdict({ node, epoch }: { node: NodeInEpoch; epoch: Epoch }) {
  if (node.verdicts === null) {
    return <Empty>{plural(node.jobs, "job")} measured. The evaluators have not decided about them yet; this page follows by itself.</Empty>;
  }
  const rows = epoch.verdicts.map(({ reason }, i) => ({ reason, jobs: node.verdicts?.[i] ?? 0, all: epoch.verdicts[i]?.jobs ?? 0 })).filter(({ jobs }, i) => jobs > 0 || i === 0);
  return (
    <DataTable
      caption={`${plural(node.jobs, "job")} of the node, and what the evaluation says of them`}
      rows={rows}
      empty=""
      columns={[
        { name: "Verdict", cell: ({ reason }) => reasonName(reason) },
        { name: "Jobs", number: true, cell: ({ jobs }) => count(jobs), order: ({ jobs }) => jobs },
        { name: "Share", cell: ({ jobs, reason }) => <><Bar part={jobs / Math.max(1, node.jobs)} kind={reason === "ok" ? "" : "not"} /><span class="small quiet">{percent(Math.round((jobs / Math.max(1, node.jobs)) * 1e6))}</span></> },
        { name: "All nodes", number: true, cell: ({ all }) => percent(Math.round((all / Math.max(1, epoch.row.jobs)) * 1e6)), order: ({ all }) => all },
        { name: "What it means", wide: true, cell: ({ reason }) => meaning(reason) },
      ]}
    />
  );
}

function Reward({ node, epoch }: { node: NodeInEpoch; epoch: Epoch }) {
  const { function: code, row } = epoch;
  return (
    <>
      <p>
        The function <strong>{code.name}</strong> makes a <Term word="weight">weight</Term> of the node's jobs; every evaluator computes it
        alone, and their median is decided. The node's share of all weights is its share of what the epoch gives to nodes.
      </p>
      <Facts
        facts={[
          ["Jobs measured", count(node.jobs)],
          node.late === 0 ? null : [<Term word="late">Late jobs among them</Term>, `${count(node.late)}, of an epoch that was sealed before they came`],
          ["Weight", node.weight === null ? (node.deferred ? <><Term word="deferred">deferred</Term>: too few evaluators say something about the node</> : "not decided yet") : count(node.weight)],
          [<Term word="proportion">Proportion</Term>, node.weight === null ? "–" : share(node.proportion)],
          ["Reward", node.weight === null ? "–" : <><Amount atto={node.amount} focus /> of <Amount atto={row.allocated} focus /> allocated</>],
          [<Term word="claim">In the claim</Term>, <><Amount atto={node.cumulative} focus /> <span class="quiet small">earned in all, when this report was made</span></>],
        ]}
      />
    </>
  );
}

/** A button that makes a proof file and hands it out, and a link that checks the same proof in the page. */
export function ProofActions({ epoch, place, index, name }: { epoch: number; place: number; index?: number; name: string }) {
  const { site } = useSite();
  const [trouble, setTrouble] = useState<string | null>(null);
  const download = async () => {
    try {
      const bytes = await (index === undefined ? site.nodeProof(epoch, place) : site.jobProof(epoch, place, index));
      setTrouble(bytes === null ? "This site does not hold what the proof is made of. The measure service has it: meridian proof makes it from there." : null);
      if (bytes === null) return;
      saveFile(bytes, name);
    } catch (error) {
      setTrouble(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <>
      <div class="row">
        <a class="button primary" href={to.proofOf(epoch, place, index)}>Check the proof in this page</a>
        <button type="button" onClick={download}>Download the proof</button>
      </div>
      {trouble === null ? null : <p class="error" role="alert">{trouble}</p>}
    </>
  );
}

function Proofs({ node, epoch }: { node: NodeInEpoch; epoch: Epoch }) {
  if (epoch.commitments.length === 0) return <Empty>Proofs lead to a root on chain. There is one as soon as the epoch is committed.</Empty>;
  return (
    <>
      <p>
        The <Term word="proof">proof</Term> shows that exactly these {plural(node.jobs, "job")} of the node, no fewer and no more, are in the epoch's
        root on chain. It is checked by your browser, or by <code>meridian proof verify</code>: neither needs to trust this site.
      </p>
      <ProofActions epoch={epoch.row.epoch} place={node.place} name={`proof-epoch-${epoch.row.epoch}-${inFileName(node.id)}.json`} />
    </>
  );
}

/** Also before an epoch is committed: receipts come before it. */
function Receipts({ epoch }: { epoch: Epoch }) {
  return (
    <>
      <p>
        For every batch of jobs, who sends it gets a <Term word="receipt">receipt</Term>: a signed promise that these jobs will be counted. Only the
        node has its receipts, so this site cannot list them; what is chosen here stays here. A signature that holds says who promised.
        Whether the promise was kept, <code>meridian receipt check</code> tells: it looks for every job in the committed epochs, and where one is
        missing it writes the proof that costs the aggregator its stake.
      </p>
      <Lazy what="the check of receipts" load={async () => (await import("./receipts.tsx")).OwnReceipts} props={{ epoch: epoch.row.epoch }} />
    </>
  );
}

function Jobs({ node, epoch }: { node: NodeInEpoch; epoch: Epoch }) {
  const number = epoch.row.epoch;
  const { network } = useSite();
  const [shown, setShown] = useState(false);
  const jobs = useLoad((site) => (shown ? site.jobs(number, node.place) : Promise.resolve([])), ["jobs", number, node.place, shown]);
  if (!shown) return <button type="button" onClick={() => setShown(true)}>Show all {count(node.jobs)} jobs with their verdicts</button>;
  const named = (row: JobRow) => (row.verdict === null ? "not judged yet" : reasonName(epoch.verdicts[row.verdict]?.reason ?? String(row.verdict)));
  return (
    <Show of={jobs} what="the node's jobs">
      {(rows) =>
        rows === null ? (
          <Empty>The epoch has more jobs than this site keeps one by one. They are in its published segments; <code>meridian proof job</code> proves any of them.</Empty>
        ) : (
          <DataTable
            caption={`Jobs of ${node.id} in epoch ${number}`}
            rows={rows}
            text={(row) => `${row.jobId} ${named(row)}`}
            filterLabel="Job id or verdict"
            empty="No job."
            columns={[
              { name: "Job", cell: ({ jobId }) => <NameLink name={jobId} href={to.job(jobId)} />, order: ({ jobId }) => jobId },
              { name: "Verdict", cell: named, order: ({ verdict }) => verdict },
              { name: "Ended (UTC)", cell: ({ endedUs }) => <Moment seconds={Number(endedUs / 1_000_000n)} />, order: ({ endedUs }) => endedUs },
              { name: "Took", number: true, cell: ({ startedUs, endedUs }) => `${count((endedUs - startedUs) / 1000n)} ms`, order: ({ startedUs, endedUs }) => endedUs - startedUs },
              ...network.laneFields.map((lane, i) => ({ name: lane, number: true, cell: ({ sums }: JobRow) => count(sums[i] ?? 0n), order: ({ sums }: JobRow) => sums[i] ?? null })).filter(({ name }) => name !== ""),
              { name: "Late", cell: ({ late }) => (late ? "late" : ""), order: ({ late }) => Number(late) },
              { name: "Proof", cell: ({ index }) => <a href={to.proofOf(number, node.place, index)}>check</a> },
            ]}
          />
        )
      }
    </Show>
  );
}
