import { defineConfig } from "vite";

/**
 * The static part of a site: `index.html` and `assets/`. Names carry no hash, so that what is committed is readable as
 * a difference; servers revalidate. All paths are relative: a site works from any folder of any web server.
 */
export default defineConfig({
  base: "./",
  build: {
    outDir: process.env["MERIDIAN_WEB_DIR"] ?? "../src/meridian/web/assets",
    emptyOutDir: true,
    target: "es2022",
    // Scripts name each other and are few; and without preloading they run outside of a page, too.
    modulePreload: false,
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    reportCompressedSize: true,
    rollupOptions: {
      // These are files with names of their own: what the pages run is what the tests ask, and anybody may.
      input: {
        index: "index.html",
        verifier: "src/verifier/index.ts",
        calls: "src/wallet/calls.ts", provider: "src/wallet/provider.ts",
        format: "src/ui/format.ts",
        reasons: "src/ui/reasons.ts",
        site: "src/data/site.ts",
      },
      preserveEntrySignatures: "strict",
      output: {
        entryFileNames: "assets/[name].js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/[name][extname]",
      },
    },
  },
});
