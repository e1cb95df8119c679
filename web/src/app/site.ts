/** The site that the pages read, and the hook by which they read it. */

import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";

import type { Network, Site } from "../data/types.ts";

export interface Open {
  site: Site;
  network: Network;
  /** By the browser's clock: when the network's facts were read. */
  receivedMs: number;
  /** Grows when the site tells that something has changed: what was loaded is loaded again. */
  revision: number;
}

export const OpenSite = createContext<Open | null>(null);

/** The open site; pages are only drawn below one. */
export function useSite(): Open {
  const open = useContext(OpenSite);
  if (open === null) throw new Error("a page is drawn without a site");
  return open;
}

export type Loaded<T> = { state: "loading" } | { state: "failed"; reason: string } | { state: "ready"; value: T };

/** Load now, when `keys` change, and when the site changes. An older value stays in view while a newer one is loaded. */
export function useLoad<T>(load: (site: Site) => Promise<T>, keys: unknown[]): Loaded<T> {
  const { site, revision } = useSite();
  const key = JSON.stringify(keys);
  const [found, setFound] = useState<{ key: string; loaded: Loaded<T> }>({ key, loaded: { state: "loading" } });
  useEffect(() => {
    let current = true;
    load(site).then(
      (value) => current && setFound({ key, loaded: { state: "ready", value } }),
      (error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        if (current) setFound({ key, loaded: { state: "failed", reason } });
      },
    );
    return () => {
      current = false;
    };
  }, [site, revision, key]);
  return found.key === key ? found.loaded : { state: "loading" };
}
