/** Asks a site's files by the reader that ships with it: one JSON question on each line in, one answer on each line out. */

import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";

const { siteFrom } = await import(process.argv[2]);
const sites = new Map();

function siteAt(root) {
  if (!sites.has(root)) {
    sites.set(root, siteFrom(async (path) => {
      const data = await readFile(`${root}/${path}`).catch(() => null);
      return data === null ? null : data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
    }));
  }
  return sites.get(root);
}

/** Bigints are decimal text, bytes are text. */
function plain(_, value) {
  if (typeof value === "bigint") return String(value);
  return value instanceof Uint8Array ? new TextDecoder().decode(value) : value;
}

async function answer({ site, ask, with: given }) {
  const opened = siteAt(site);
  if (ask !== "cells") return opened[ask](...given);
  const matrix = await opened.matrix(...given);
  const each = (cell) => matrix.members.map((_, m) => Array.from({ length: matrix.nodes }, (_, n) => cell(m, n)));
  return { members: matrix.members, weights: each(matrix.weight.bind(matrix)), outliers: each(matrix.outlier.bind(matrix)) };
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)), plain) ?? "null"}\n`);
}
