/** The frame of every page: skip link, header, the page, footer; opens the network and watches it. */

import { useEffect, useState } from "preact/hooks";

import type { Network, Site } from "../data/types.ts";
import { pageOf } from "./pages.tsx";
import { useRoute } from "./router.ts";
import { OpenSite } from "./site.ts";

export function App({ site }: { site: Site }) {
  const [network, setNetwork] = useState<Network | null>(null);
  const [revision, setRevision] = useState(0);
  const route = useRoute();
  useEffect(() => site.watch(() => setRevision((old) => old + 1)), [site]);
  useEffect(() => {
    void site.network().then(setNetwork);
  }, [site, revision]);
  if (network === null) return <main id="main">Reading the network…</main>;
  return (
    <OpenSite.Provider value={{ site, network, revision }}>
      <main id="main">{pageOf(route)}</main>
    </OpenSite.Provider>
  );
}
