/** The verifier as a module of its own, `assets/verifier.js` of a site: the pages use this file, and so may anybody. */

export { hex } from "./bytes.ts";
export { check, checkProof } from "./proof.ts";
export { checkReceipt, looksLikeReceipt } from "./receipt.ts";
export { holds } from "./steps.ts";
export { readJson } from "./document.ts";
export { extendsLog, extendsPart, includes } from "./vectors.ts";
