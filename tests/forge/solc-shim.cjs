#!/usr/bin/env node
// What forge asks of a compiler (--version, --standard-json), answered by npm's solc: nothing is downloaded.
const path = require("node:path");
const solc = require(path.join(process.env.MERIDIAN_FORGE, "node_modules", "solc"));
if (process.argv.includes("--version")) {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${solc.version().replace(".Emscripten.clang", ".Linux.g++")}`);
} else {
  let text = "";
  process.stdin.on("data", (part) => (text += part));
  process.stdin.on("end", () => process.stdout.write(solc.compile(text)));
}
