/** Header with the mark, the navigation and the search; footer with what the figures rest on. */

import { useState } from "preact/hooks";

import type { Network } from "../data/types.ts";
import { count, dateTime } from "../ui/format.ts";
import { type Route, to } from "./router.ts";

const PAGES: { name: string; href: string; roots: string[] }[] = [
  { name: "Network", href: to.overview(), roots: ["", "epoch", "node", "job"] },
  { name: "Evaluators", href: to.evaluators(), roots: ["evaluators", "evaluator"] },
  { name: "Money", href: to.money(), roots: ["money"] },
  { name: "Complaints", href: to.complaints(), roots: ["complaints"] },
  { name: "Check a proof", href: to.proof(), roots: ["proof"] },
];

function Mark() {
  return (
    <svg viewBox="0 0 32 32" fill="none" aria-hidden="true">
      <g stroke="currentColor" stroke-width="1.8">
        <circle cx="16" cy="16" r="12" />
        <ellipse cx="16" cy="16" rx="5.2" ry="12" />
        <path d="M4 16h24" />
      </g>
      <path d="M16 1.5v29" stroke="#e8a33d" stroke-width="2.4" stroke-linecap="round" />
    </svg>
  );
}

export function SearchForm({ id, label, initial = "", className = "" }: { id: string; label: string; initial?: string; className?: string }) {
  const [query, setQuery] = useState(initial);
  const submit = (event: Event) => {
    event.preventDefault();
    if (query.trim() !== "") location.hash = to.search(query.trim());
  };
  return (
    <form role="search" aria-label={label} class={className} onSubmit={submit}>
      <label class="hidden" for={id}>{label}</label>
      <input id={id} type="search" value={query} placeholder="Node id, address or job id" autocomplete="off" spellcheck={false} onInput={(event) => setQuery(event.currentTarget.value)} />
      <button type="submit">Find</button>
    </form>
  );
}

export function Header({ route, network }: { route: Route; network: Network | null }) {
  const root = route.path[0] ?? "";
  const skip = (event: Event) => {
    event.preventDefault();
    document.getElementById("main")?.focus();
  };
  return (
    <header class="header">
      <a class="skip" href="#main" onClick={skip}>Skip to the content</a>
      <div class="header-inner">
        <a class="brand" href={to.overview()}>
          <Mark />
          Meridian
          {network === null ? null : <span class="brand-network">{network.network}</span>}
        </a>
        <nav class="nav" aria-label="Main">
          {PAGES.map(({ name, href, roots }) => (
            <a href={href} aria-current={roots.includes(root) ? "page" : undefined}>{name}</a>
          ))}
        </nav>
        <SearchForm id="find" label="Find a node, address or job" className="find" />
      </div>
    </header>
  );
}

export function Footer({ network }: { network: Network | null }) {
  return (
    <footer class="footer">
      <div class="footer-inner">
        {network === null ? null : (
          <p>
            As of block {count(network.block)}, <time dateTime={new Date(network.madeAtS * 1000).toISOString()}>{dateTime(network.madeAtS)} UTC</time>
          </p>
        )}
        <p>
          The files behind these pages are an index for reading. What counts is on chain: <a href={to.proof()}>check a proof</a>.
        </p>
      </div>
    </footer>
  );
}
