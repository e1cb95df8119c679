/** Which page answers which address. */

import type { ComponentChildren } from "preact";

import { ComplaintsPage } from "../pages/complaints.tsx";
import { EpochPage } from "../pages/epoch.tsx";
import { EvaluatorPage, EvaluatorsPage } from "../pages/evaluators.tsx";
import { JobPage } from "../pages/job.tsx";
import { MoneyPage } from "../pages/money.tsx";
import { NodePage } from "../pages/node.tsx";
import { Overview } from "../pages/overview.tsx";
import { SearchPage } from "../pages/search.tsx";
import { PageTitle } from "../ui/page.tsx";
import { Lazy } from "./lazy.tsx";
import { type Route, to } from "./router.ts";

function number(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : null;
}

/** The page of a route; its title stands in the page as the first heading. */
export function pageOf({ path, query }: Route): ComponentChildren {
  const [name, first, second] = path;
  const epoch = number(first);
  if (name === undefined) return <Overview />;
  if (name === "epoch" && epoch !== null) return <EpochPage number={epoch} />;
  if (name === "node" && first !== undefined) return <NodePage nodeKey={first} epoch={number(second)} />;
  if (name === "job" && first !== undefined) return <JobPage jobId={first} />;
  if (name === "evaluators") return <EvaluatorsPage />;
  if (name === "evaluator" && first !== undefined) return <EvaluatorPage address={first} />;
  if (name === "money") return <MoneyPage />;
  if (name === "complaints") return <ComplaintsPage />;
  if (name === "search") return <SearchPage query={query.get("q") ?? ""} />;
  if (name === "proof") return <Lazy what="the proof checker" load={async () => (await import("../pages/checker.tsx")).CheckerPage} props={{}} />;
  return (
    <>
      <PageTitle title="Nothing is here" />
      <p>No page has this address. <a href={to.overview()}>The network</a> is a good place to start.</p>
    </>
  );
}
