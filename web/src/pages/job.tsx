/** One job: where it was counted, what was decided about it, and its proof. */

import { to } from "../app/router.ts";
import { useLoad } from "../app/site.ts";
import type { FoundJob, Site } from "../data/types.ts";
import { count } from "../ui/format.ts";
import { Empty, Facts, PageTitle, Section, Show } from "../ui/page.tsx";
import { meaning, reasonName } from "../ui/reasons.ts";
import { Term } from "../ui/term.tsx";
import { Hex, Moment } from "../ui/values.tsx";
import { ProofActions } from "./node_epoch.tsx";

async function details(site: Site, job: FoundJob) {
  const epoch = await site.epoch(job.epoch);
  const found = (await site.findNodes(job.nodeId)).find(({ id }) => id === job.nodeId);
  const node = found === undefined ? null : await site.node(job.epoch, found.key);
  const row = node === null ? null : ((await site.jobs(job.epoch, node.place))?.[job.index] ?? null);
  return { epoch, node, row };
}

export function JobPage({ jobId }: { jobId: string }) {
  const jobs = useLoad((site) => site.findJobs(jobId), ["job", jobId]);
  return (
    <>
      <PageTitle title="Job" kicker="Job" lead={<Hex value={jobId} what="the job id" />} />
      <Show of={jobs} what="the index of jobs">
        {(found) =>
          found.length === 0 ? (
            <Empty>
              No sealed epoch of this site has a job with this id. A job appears when its epoch is sealed; if the node holds a receipt for it and
              the epoch is over, <a href={to.proof()}>check the receipt</a>.
            </Empty>
          ) : (
            <>{found.map((job) => <One job={job} />)}</>
          )
        }
      </Show>
    </>
  );
}

function One({ job }: { job: FoundJob }) {
  const loaded = useLoad((site) => details(site, job), ["job details", job.jobId, job.epoch, job.nodeId]);
  return (
    <Section title={<>In epoch {job.epoch}, by {job.nodeId}</>}>
      <Show of={loaded} what="the job's details">
        {({ epoch, node, row }) => {
          const verdict = row === null || row.verdict === null ? null : (epoch.verdicts[row.verdict]?.reason ?? null);
          return (
            <>
              <Facts
                facts={[
                  ["Node", node === null ? job.nodeId : <a href={to.node(node.key, job.epoch)}>{job.nodeId}</a>],
                  ["Epoch", <a href={to.epoch(job.epoch)}>{job.epoch}</a>],
                  ["Place among the node's jobs", count(job.index)],
                  [<Term word="verdict">Verdict</Term>, row === null ? "this site does not keep the epoch's jobs one by one" : verdict === null ? "not judged yet" : <><strong>{reasonName(verdict)}</strong>{verdict === "ok" ? null : `. ${meaning(verdict)}`}</>],
                  row === null ? null : ["Began", <Moment seconds={Number(row.startedUs / 1_000_000n)} />],
                  row === null ? null : ["Ended", <Moment seconds={Number(row.endedUs / 1_000_000n)} />],
                  row?.late ? [<Term word="late">Late</Term>, "yes"] : null,
                ]}
              />
              {node === null || epoch.commitments.length === 0 ? <Empty>Its proof can be made as soon as the epoch is committed.</Empty> : <ProofActions epoch={job.epoch} place={node.place} index={job.index} name={`proof-epoch-${job.epoch}-job-${job.jobId.replaceAll(/[^\w.-]/g, "_").slice(0, 60)}.json`} />}
            </>
          );
        }}
      </Show>
    </Section>
  );
}
