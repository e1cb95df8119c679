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
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    reportCompressedSize: true,
    rollupOptions: {
      output: {
        entryFileNames: "assets/[name].js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/[name][extname]",
      },
    },
  },
});
