/** Hands out a file that the page made. */

import { announce } from "./announce.ts";

/** How long the browser has to fetch the bytes. */
const KEPT_MS = 1000;

export function saveFile(bytes: Uint8Array<ArrayBuffer>, name: string): void {
  const url = URL.createObjectURL(new Blob([bytes], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), KEPT_MS);
  announce(`Saved as ${name}`);
}

/** A name of a node or job as part of a file's name. */
export function inFileName(name: string): string {
  return name.replaceAll(/[^\w.-]/g, "_").slice(0, 80);
}
