/** Which page answers which address. */

import type { ComponentChildren } from "preact";

import { Overview } from "../pages/overview.tsx";
import type { Route } from "./router.ts";

/** The page of a route; its title stands in the page as the first heading. */
export function pageOf({ path }: Route): ComponentChildren {
  const [name, first] = path;
  if (name === undefined && first === undefined) return <Overview />;
  return <h1>Nothing is here</h1>;
}
