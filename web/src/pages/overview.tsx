/** The network at a glance. */

import { useSite } from "../app/site.ts";

export function Overview() {
  const { network } = useSite();
  return <h1>{network.network}</h1>;
}
