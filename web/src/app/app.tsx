/** The frame of every page: skip link, header, the page, footer; opens the network, watches it, moves the focus. */

import { useEffect, useRef, useState } from "preact/hooks";

import type { Site } from "../data/types.ts";
import { stateName } from "../ui/values.tsx";
import { announce, hear } from "./announce.ts";
import { Footer, Header } from "./frame.tsx";
import { pageOf } from "./pages.tsx";
import { type Route, useRoute } from "./router.ts";
import { type Open, OpenSite } from "./site.ts";

/** The network's facts, read again whenever the site says that something has changed. */
function useOpen(site: Site): Open | string | null {
  const [open, setOpen] = useState<Open | string | null>(null);
  useEffect(() => {
    let current = true;
    let revision = 0;
    const read = async (changed: number | null) => {
      const mine = (revision += 1);
      try {
        const network = await site.network();
        if (!current || mine !== revision) return;
        setOpen({ site, network, revision, receivedMs: Date.now() });
        const row = changed === null ? undefined : (await site.epochs()).find(({ epoch }) => epoch === changed);
        if (row !== undefined) announce(`Epoch ${row.epoch}: ${stateName(row.state)}.`);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        if (current) setOpen((old) => (old !== null && typeof old !== "string" ? old : reason));
      }
    };
    void read(null);
    const stop = site.watch((epoch) => void read(epoch));
    return () => {
      current = false;
      stop();
    };
  }, [site]);
  return open;
}

/** After a change of page the focus is on its heading, as if the page had been loaded. */
function useFocus(route: Route, ready: boolean): void {
  const before = useRef<string | null>(null);
  const here = `${route.path.join("/")}?${route.query.get("q") ?? ""}`;
  useEffect(() => {
    if (!ready) return;
    if (before.current !== null && before.current !== here) {
      scrollTo(0, 0);
      (document.querySelector<HTMLElement>("main h1") ?? document.getElementById("main"))?.focus();
    }
    before.current = here;
  }, [here, ready]);
}

export function App({ site }: { site: Site }) {
  const open = useOpen(site);
  const route = useRoute();
  const [said, setSaid] = useState("");
  useEffect(() => hear(setSaid), []);
  const ready = open !== null && typeof open !== "string";
  useFocus(route, ready);
  return (
    <>
      <Header route={route} network={ready ? open.network : null} />
      <main id="main" tabIndex={-1}>
        {ready ? <OpenSite.Provider value={open}>{pageOf(route)}</OpenSite.Provider> : <Unopened reason={open} />}
      </main>
      <Footer network={ready ? open.network : null} />
      <p class="hidden" role="status">{said}</p>
    </>
  );
}

function Unopened({ reason }: { reason: string | null }) {
  if (reason === null) return <p class="loading">Reading the network…</p>;
  return (
    <div class="error" role="alert">
      <h1 tabIndex={-1}>This site cannot be read</h1>
      <p>{reason}</p>
      <p>
        A site is a folder with <code>data/network.json</code>, served by any web server. <code>meridian web build</code> writes it; a page
        opened straight from disk (<code>file://</code>) cannot read it.
      </p>
      <button type="button" onClick={() => location.reload()}>Try again</button>
    </div>
  );
}
