/** The proof checker: a proof or receipt is pasted, dropped or loaded, and every step of its check is shown. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { useRoute } from "../app/router.ts";
import { useSite } from "../app/site.ts";
import type { Network, Site } from "../data/types.ts";
import { PageTitle, Section } from "../ui/page.tsx";
import { Amount } from "../ui/values.tsx";
import { type Bytes, fromUtf8, hex, unhex, utf8 } from "../verifier/bytes.ts";
import { FILE_BYTES_MAX, MAGIC, Malformed, readJson } from "../verifier/document.ts";
import { type Checked, checkProof } from "../verifier/proof.ts";
import { type CheckedReceipt, checkReceipt, looksLikeReceipt } from "../verifier/receipt.ts";
import type { Step } from "../verifier/steps.ts";
import { claimDocument } from "./checker_claim.ts";
import { RootCompared, type Said, type Subject } from "./checker_root.tsx";
import { Steps } from "./checker_steps.tsx";
import "../style/checker.css";
import { explain, KIND_NAMES, notChecked } from "./checker_words.ts";
import { expectedOf } from "./receipt_files.ts";

type Result = ({ what: "proof" } & Checked) | ({ what: "receipt" } & CheckedReceipt);

/** The bytes of what stands in the field: JSON as it is, or a binary proof in hex. */
function bytesOf(text: string): Bytes {
  const digits = text.replace(/\s+/g, "").replace(/^0x/, "");
  const binary = /^[0-9a-fA-F]+$/.test(digits) ? unhex(digits, digits.length / 2) : null;
  return binary ?? utf8(text.trim());
}

/** Bytes as they stand in the field. */
function textOf(data: Bytes): string {
  const isBinary = MAGIC.every((byte, at) => data[at] === byte);
  return (isBinary ? null : fromUtf8(data)) ?? hex(data);
}

function isReceipt(data: Bytes): boolean {
  try {
    return data[0] === 0x7b && looksLikeReceipt(readJson(data));
  } catch (error) {
    if (error instanceof Malformed) return false;
    throw error;
  }
}

function resultOf(text: string, network: Network): Result | null {
  if (text.trim() === "") return null;
  const data = bytesOf(text);
  if (isReceipt(data)) return { what: "receipt", ...checkReceipt(data, expectedOf(network)) };
  return { what: "proof", ...checkProof(data) };
}

/** The proof that an address asks for; null: none is asked for. */
async function asked(site: Site, network: Network, query: URLSearchParams): Promise<Bytes | null> {
  const claim = query.get("claim");
  const number = (name: string) => (/^\d{1,9}$/.test(query.get(name) ?? "") ? Number(query.get(name)) : null);
  const [epoch, place, index] = [number("epoch"), number("place"), number("index")];
  let found: Bytes | null;
  if (claim !== null) found = await claimDocument(site, network, claim);
  else if (epoch === null || place === null) return null;
  else found = index === null ? await site.nodeProof(epoch, place) : await site.jobProof(epoch, place, index);
  if (found !== null) return found;
  throw new Error("This site does not have the rows that this proof is made of. The measure service of the network does: meridian proof asks it.");
}

/** The proof that the address names; why it cannot be had; or nothing yet. */
function useAsked(show: (data: Bytes) => void): { state: "none" | "loading" | "there" | "failed"; reason: string } {
  const { site, network } = useSite();
  const { query } = useRoute();
  const [state, setState] = useState<{ state: "none" | "loading" | "there" | "failed"; reason: string }>({ state: "none", reason: "" });
  const key = query.toString();
  useEffect(() => {
    let current = true;
    if (key === "") return;
    setState({ state: "loading", reason: "" });
    asked(site, network, query).then(
      (data) => {
        if (!current) return;
        if (data !== null) show(data);
        setState({ state: data === null ? "none" : "there", reason: "" });
      },
      (error: unknown) => current && setState({ state: "failed", reason: error instanceof Error ? error.message : String(error) }),
    );
    return () => {
      current = false;
    };
  }, [site, key]);
  return state;
}

interface InputProps {
  text: string;
  /** The text was edited. */
  setText: (text: string) => void;
  /** Another file takes its place. */
  replace: (text: string) => void;
  setRefusal: (reason: string) => void;
}

function Input({ text, setText, replace, setRefusal }: InputProps) {
  const [over, setOver] = useState(false);
  const take = async (file: File | undefined) => {
    setOver(false);
    if (file === undefined) return;
    setRefusal(file.size > FILE_BYTES_MAX ? `${file.name} has ${file.size.toLocaleString("en")} bytes; no proof has more than ${FILE_BYTES_MAX.toLocaleString("en")}.` : "");
    if (file.size <= FILE_BYTES_MAX) replace(textOf(new Uint8Array(await file.arrayBuffer())));
  };
  const save = () => {
    const data = bytesOf(text);
    const binary = MAGIC.every((byte, at) => data[at] === byte);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([new Uint8Array(data)]));
    link.download = binary ? "proof.bin" : "proof.json";
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return (
    <div
      class={over ? "drop over" : "drop"}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        void take(event.dataTransfer?.files[0]);
      }}
    >
      <label class="drop-label" for="proof-text">Paste a proof or a receipt: JSON, or the binary form in hex. Or drop a file here.</label>
      <textarea
        id="proof-text"
        rows={9}
        value={text}
        spellcheck={false}
        autocomplete="off"
        onInput={(event) => {
          setRefusal("");
          setText(event.currentTarget.value);
        }}
      />
      <div class="row">
        <label class="button">
          Choose a file
          <input class="hidden" type="file" onChange={(event) => void take(event.currentTarget.files?.[0])} />
        </label>
        <button type="button" disabled={text === ""} onClick={save}>Save as a file</button>
        <button type="button" disabled={text === ""} onClick={() => replace("")}>Clear</button>
      </div>
    </div>
  );
}

function toFailed(): void {
  const failed = document.querySelector<HTMLElement>("#failed-step summary");
  failed?.scrollIntoView({ block: "center" });
  failed?.focus({ preventScroll: true });
}

interface AllSaid {
  site: Said | null;
  chain: Said | null;
  own: Said | null;
}

/** All steps hold; yet who knows the chain may say that the root is another one. */
function Holding({ result, said }: { result: Result; said: AllSaid }) {
  const against = [said.chain, said.own, said.site].find((one): one is Said => one?.ok === false);
  const noun = result.what === "proof" ? "proof" : "receipt";
  const amount = result.what === "proof" && result.proof?.kind === "claim" ? result.proof.fields.cumulative_atto : null;
  return (
    <div class={against === undefined ? "verdict ok" : "verdict bad"}>
      {against === undefined ? (
        <p class="verdict-line"><span aria-hidden="true">✓</span> The {noun} holds: all {result.steps.length} steps do.</p>
      ) : (
        <>
          <p class="verdict-line"><span aria-hidden="true">✗</span> All steps hold, but the {noun} proves nothing here.</p>
          <p><strong>{against.text}</strong></p>
        </>
      )}
      <p>It says: {result.statement}{amount === null ? null : <> (<Amount atto={amount} />)</>}.</p>
    </div>
  );
}

function Breaking({ result, failed, at }: { result: Result; failed: Step; at: number }) {
  return (
    <div class="verdict bad">
      <p class="verdict-line"><span aria-hidden="true">✗</span> The {result.what} does not hold.</p>
      <p>
        It breaks at step {at + 1}, <strong>{failed.name}</strong>. {explain(failed)}
        {failed.name === "document" ? <> Reason: <code>{failed.rule}: {failed.value}</code>.</> : null}
      </p>
      {failed.name === "document" ? null : <button type="button" onClick={toFailed}>Go to this step</button>}
    </div>
  );
}

function Verdict({ result, said }: { result: Result; said: AllSaid }) {
  const at = result.steps.findIndex((step) => !step.ok);
  const failed = result.steps[at];
  return failed === undefined ? <Holding result={result} said={said} /> : <Breaking result={result} failed={failed} at={at} />;
}

function Unchecked({ subject, said }: { subject: Subject; said: AllSaid }) {
  const open = notChecked(subject.proof ?? "receipt");
  const what = subject.proof === undefined ? "That the signer is an aggregator of this network" : "That the root is the one on chain";
  if (!said.chain?.ok && !said.own?.ok) {
    open.unshift(
      said.site?.ok ? `${what}: so far only this site says so. Ask your wallet's chain, or whom you trust.` : `${what}: nobody has confirmed it.`,
    );
  }
  return (
    <Section title="What was not checked">
      <ul>{open.map((line) => <li key={line}>{line}</li>)}</ul>
    </Section>
  );
}

function subjectOf(result: Result | null): Subject | null {
  if (result === null || !result.holds) return null;
  if (result.what === "receipt") return result.receipt === null ? null : { receipt: result.receipt };
  return result.proof === null ? null : { proof: result.proof };
}

/** What the reader's own root says of the root of a proof. */
function ownSaid(own: string, result: Result | null): Said | null {
  if (own.trim() === "" || result?.what !== "proof") return null;
  const found = unhex(own.trim().replace(/^0x/, ""), 32);
  if (found === null) return { ok: null, text: "These are not 64 hex digits." };
  if (hex(found) === result.root) return { ok: true, text: "It is the root that the proof leads to." };
  return { ok: false, text: "The proof leads to another root than the one that you trust." };
}

export function CheckerPage() {
  const { network } = useSite();
  const [text, setText] = useState("");
  const [own, setOwn] = useState("");
  const [refusal, setRefusal] = useState("");
  const replace = (other: string) => {
    setText(other);
    setOwn("");
  };
  const loading = useAsked((data) => replace(textOf(data)));
  const result = useMemo(() => resultOf(text, network), [text, network]);
  const subject = useMemo(() => subjectOf(result), [result]);
  const [told, setTold] = useState<{ of: Subject | null; site: Said | null; chain: Said | null }>({ of: null, site: null, chain: null });
  const current = told.of === subject ? told : { of: subject, site: null, chain: null };
  const said = { site: current.site, chain: current.chain, own: ownSaid(own, result) };
  const latest = useRef(subject);
  latest.current = subject;
  const tell = (who: "site" | "chain", one: Said) => {
    if (latest.current !== subject) return; // an answer to a question about another file
    setTold((old) => ({ ...(old.of === subject ? old : { of: subject, site: null, chain: null }), [who]: one }));
  };
  const kind = result?.what === "proof" ? result.proof?.kind : undefined;
  return (
    <>
      <PageTitle
        title="Proof checker"
        lead="Computed here, in your browser, from the file alone: SHA-256, additions and comparisons. Nothing that you paste leaves this page."
      />
      {loading.state === "loading" ? <p class="loading">Making the proof from the site's files…</p> : null}
      {loading.state === "failed" ? <p class="error" role="alert">{loading.reason}</p> : null}
      <Input text={text} setText={setText} replace={replace} setRefusal={setRefusal} />
      {refusal === "" ? null : <p class="error" role="alert">{refusal}</p>}
      <div role="status" aria-live="polite">
        {result === null ? (
          <p class="quiet">
            No proof at hand? The page of a node or of a job opens its own here. Change a digit of it, and see where it breaks.
          </p>
        ) : <Verdict result={result} said={said} />}
      </div>
      {subject === null ? null : (
        <>
          <Section title={subject.proof === undefined ? "Is the signer an aggregator?" : "Is it the root on chain?"}>
            <RootCompared subject={subject} said={said} tell={tell} own={own} setOwn={setOwn} />
          </Section>
          <Unchecked subject={subject} said={said} />
        </>
      )}
      {result === null ? null : (
        <Section title={kind === undefined ? "Every step" : `Every step: ${KIND_NAMES[kind].toLowerCase()}`} name="Every step">
          <Steps steps={result.steps} />
        </Section>
      )}
    </>
  );
}
