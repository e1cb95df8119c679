import { defineConfig } from "vite";

/** Bundles the verifier for the command line; the tests run it with Node. */
export default defineConfig({
  build: {
    ssr: "src/check.ts",
    outDir: process.env["MERIDIAN_CHECK_DIR"] ?? "dist-check",
    emptyOutDir: false,
    target: "node20",
    rollupOptions: { output: { entryFileNames: "check.mjs" } },
  },
  ssr: { noExternal: true },
});
