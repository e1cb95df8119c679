/** Nodes, addresses and jobs that match; a single node is opened at once. */

import { useEffect } from "preact/hooks";

import { to } from "../app/router.ts";
import { useLoad } from "../app/site.ts";
import type { FoundJob, FoundNode, Site } from "../data/types.ts";
import { count, plural } from "../ui/format.ts";
import { PageTitle, Show } from "../ui/page.tsx";
import { DataTable } from "../ui/table.tsx";
import { Hex, NameLink } from "../ui/values.tsx";

const NODES_MAX = 50;

interface Found {
  nodes: FoundNode[];
  jobs: FoundJob[];
  evaluator: string | null;
  epoch: number | null;
}

async function find(site: Site, query: string): Promise<Found> {
  const number = /^\d{1,9}$/.test(query) ? Number(query) : null;
  const [nodes, jobs, evaluators, epochs] = await Promise.all([
    site.findNodes(query),
    site.findJobs(query),
    /^0x[0-9a-f]{40}$/i.test(query) ? site.evaluators() : [],
    number === null ? [] : site.epochs(),
  ]);
  const evaluator = evaluators.find(({ address }) => address.toLowerCase() === query.toLowerCase())?.address ?? null;
  return { nodes, jobs, evaluator, epoch: epochs.some(({ epoch }) => epoch === number) ? number : null };
}

export function SearchPage({ query }: { query: string }) {
  const found = useLoad((site) => find(site, query), ["search", query]);
  return (
    <>
      <PageTitle title="Search" lead={query === "" ? undefined : <>for “{query}”</>} />
      <Show of={found} what="the index">{(value) => <Results query={query} found={value} />}</Show>
    </>
  );
}

function Results({ query, found: { nodes, jobs, evaluator, epoch } }: { query: string; found: Found }) {
  const only = nodes.length === 1 && jobs.length === 0 && evaluator === null && epoch === null ? nodes[0] : undefined;
  useEffect(() => {
    if (only !== undefined) location.replace(to.node(only.key));
  }, [only?.key]);
  if (nodes.length + jobs.length === 0 && evaluator === null && epoch === null) return <Nothing query={query} />;
  return (
    <>
      {epoch === null ? null : <p><a href={to.epoch(epoch)}>Epoch {epoch}</a></p>}
      {evaluator === null ? null : <p>An evaluator has this address: <Hex value={evaluator} what="the evaluator's address" href={to.evaluator(evaluator)} /></p>}
      {nodes.length === 0 ? null : (
        <DataTable
          caption={nodes.length < NODES_MAX ? `${plural(nodes.length, "node")} found` : `The first ${NODES_MAX} nodes found`}
          rows={nodes}
          text={({ id, key }) => `${id} ${key}`}
          empty=""
          columns={[
            { name: "Node", cell: ({ id, key }) => <NameLink name={id} href={to.node(key)} />, order: ({ id }) => id },
            { name: "Operator", cell: ({ operator }) => (operator === "" ? "–" : <Hex value={operator} what="the operator's address" />), order: ({ operator }) => operator },
            { name: "Payee", cell: ({ payee }) => <Hex value={payee} what="the payee's address" />, order: ({ payee }) => payee },
            { name: "Last epoch", number: true, cell: ({ lastEpoch }) => count(lastEpoch), order: ({ lastEpoch }) => lastEpoch },
          ]}
        />
      )}
      {jobs.length === 0 ? null : (
        <div class="gap-top">
          <DataTable
            caption={`${plural(jobs.length, "job")} found`}
            rows={jobs}
            empty=""
            columns={[
              { name: "Job", cell: ({ jobId }) => <NameLink name={jobId} href={to.job(jobId)} /> },
              { name: "Node", cell: ({ nodeId }) => <NameLink name={nodeId} href={to.search(nodeId)} /> },
              { name: "Epoch", number: true, cell: ({ epoch: at }) => <a href={to.epoch(at)}>{at}</a> },
            ]}
          />
        </div>
      )}
    </>
  );
}

function Nothing({ query }: { query: string }) {
  return (
    <div class="note">
      <p><strong>Nothing is found for “{query}”.</strong> The search takes whole names:</p>
      <ul>
        <li>a node id, as the node reports it, or its node key (64 hex digits);</li>
        <li>an operator's or payee's address, <code>0x…</code> or <code>f410…</code>, in any letter case;</li>
        <li>a job id;</li>
        <li>the number of an epoch.</li>
      </ul>
      <p>A node or job can be found as soon as its epoch is sealed.</p>
    </div>
  );
}
