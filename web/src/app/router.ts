/** Hash routing: `#/epoch/3?sort=amount` works from any static server, and from any folder of it. */

import { useEffect, useState } from "preact/hooks";

export interface Route {
  /** What stands between the slashes, decoded. */
  path: string[];
  query: URLSearchParams;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function parseHash(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
  return { path: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

/** The route of the address bar; changes with it. */
export function useRoute(): Route {
  const [route, setRoute] = useState(() => parseHash(location.hash));
  useEffect(() => {
    const changed = () => setRoute(parseHash(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}

function hash(...parts: (string | number)[]): string {
  return `#/${parts.map((part) => encodeURIComponent(part)).join("/")}`;
}

/** Addresses of pages. */
export const to = {
  overview: () => "#/",
  epoch: (epoch: number) => hash("epoch", epoch),
  node: (key: string, epoch?: number) => (epoch === undefined ? hash("node", key) : hash("node", key, epoch)),
  job: (id: string) => hash("job", id),
  evaluators: () => "#/evaluators",
  evaluator: (address: string) => hash("evaluator", address),
  money: () => "#/money",
  proof: () => "#/proof",
  /** The checker with the proof of a node, or of one of its jobs. */
  proofOf: (epoch: number, place: number, index?: number) => `#/proof?epoch=${epoch}&place=${place}${index === undefined ? "" : `&index=${index}`}`,
  complaints: () => "#/complaints",
  search: (query: string) => `#/search?q=${encodeURIComponent(query)}`,
};
