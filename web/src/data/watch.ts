/** News of a site: from the server's events where there are any, else by looking whether `data/network.json` has changed. */

const POLL_MS = 15_000;
const RETRY_MS = 5_000;

export type Changed = (epoch: number | null) => void;

/** Returns how to watch; `forget` drops what was read before. */
export function watchOver(base: string, forget: () => void): (changed: Changed) => () => void {
  return (changed) => {
    const told: Changed = (epoch) => {
      forget();
      changed(epoch);
    };
    let stop = () => undefined as void;
    let stopped = false;
    void eventsUrl(base).then((url) => {
      if (!stopped) stop = url === null ? poll(base, told) : listen(url, base, told);
    });
    return () => {
      stopped = true;
      stop();
    };
  };
}

async function eventsUrl(base: string): Promise<string | null> {
  try {
    const answer = await fetch(`${base}data/server.json`, { cache: "no-cache" });
    if (!answer.ok) return null;
    const { events } = (await answer.json()) as { events?: unknown };
    return typeof events === "string" && typeof EventSource !== "undefined" ? base + events : null;
  } catch {
    return null;
  }
}

/** Listens; while the server is away it is looked at like a plain directory. */
function listen(url: string, base: string, told: Changed): () => void {
  const source = new EventSource(url);
  let stopPolling: (() => void) | null = null;
  let lost = false;
  source.onmessage = ({ data }: MessageEvent<string>) => {
    const { epoch } = JSON.parse(data) as { epoch: number | null };
    told(epoch);
  };
  source.onopen = () => {
    stopPolling?.();
    stopPolling = null;
    if (lost) told(null); // whatever was told meanwhile was not heard
    lost = false;
  };
  source.onerror = () => {
    lost = true;
    stopPolling ??= poll(base, told, RETRY_MS);
  };
  return () => {
    source.close();
    stopPolling?.();
  };
}

function poll(base: string, told: Changed, everyMs = POLL_MS): () => void {
  let before: string | null = null;
  const look = async () => {
    try {
      const answer = await fetch(`${base}data/network.json`, { cache: "no-cache" });
      if (!answer.ok) return;
      const now = await answer.text();
      if (before !== null && now !== before) told(null);
      before = now;
    } catch {
      // the server is away; the page shows what it has
    }
  };
  void look();
  const timer = setInterval(() => void look(), everyMs);
  return () => clearInterval(timer);
}
