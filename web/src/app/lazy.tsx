/** A part that is only fetched where it is shown: the wallet's and the checker's cryptography is not for every page. */

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";

import { whenIdle } from "./idle.ts";

interface Props<P extends object> {
  what: string;
  load: () => Promise<ComponentType<P>>;
  props: P;
}

export function Lazy<P extends object>({ what, load, props }: Props<P>) {
  const [part, setPart] = useState<{ Part: ComponentType<P> } | string | null>(null);
  useEffect(() => {
    let current = true;
    const cancel = whenIdle(() =>
      load().then(
        (Part) => current && setPart({ Part }),
        (error: unknown) => current && setPart(error instanceof Error ? error.message : String(error)),
      ),
    );
    return () => {
      current = false;
      cancel();
    };
  }, [what]);
  if (part === null) return <p class="loading">Fetching {what}…</p>;
  if (typeof part === "string") {
    return (
      <p class="error" role="alert">
        Cannot fetch {what}: {part}. Reload the page; if that does not help, the site's <code>assets/</code> folder is incomplete.
      </p>
    );
  }
  return <part.Part {...props} />;
}
