/** Work that may wait until the page has drawn what was asked for. */

const LATEST_MS = 400;

/** Call back when the browser is idle, or soon anyway; returns how to call it off. */
export function whenIdle(work: () => void): () => void {
  if (!("requestIdleCallback" in window)) {
    const timer = setTimeout(work, 1);
    return () => clearTimeout(timer);
  }
  const asked = requestIdleCallback(work, { timeout: LATEST_MS });
  return () => cancelIdleCallback(asked);
}
