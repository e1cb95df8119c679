/** The root that a proof leads to, or the signer of a receipt, compared with what others say: site, wallet's chain, reader. */

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";

import { useSite } from "../app/site.ts";
import type { Commitment, Network, Report, Site } from "../data/types.ts";
import { dateTime } from "../ui/format.ts";
import { hex, toUint } from "../verifier/bytes.ts";
import type { ProofFile } from "../verifier/document.ts";
import { rootOf } from "../verifier/proof.ts";
import type { Receipt } from "../verifier/receipt.ts";
import { annotationOf, type Committed, contractOf } from "../wallet/calls.ts";
import { chainOf, connect, type Provider, useChain } from "../wallet/provider.ts";
import { readIsAggregator, readIsCommitment, readReport } from "../wallet/reading.ts";
import { useWallets, WalletChoice } from "../wallet/use_wallet.tsx";

export interface Said {
  /** Null: it says nothing about this. */
  ok: boolean | null;
  text: string;
}

/** What is compared: the root of a proof that holds, or the aggregator of a receipt that does. */
export type Subject = { proof: ProofFile; receipt?: never } | { receipt: Receipt; proof?: never };

const bare = (text: string) => text.replace(/^0x/, "").toLowerCase();
const short = (text: string) => `${text.slice(0, 10)}…${text.slice(-6)}`;

function sayOf(found: Commitment | undefined, others: Commitment[], epoch: bigint, isAbsence: boolean): Said {
  if (found?.standing) {
    const more = others.filter((one) => one.standing && one !== found).length;
    const warning = isAbsence && more > 0 ? ` But ${more} more stand for this epoch, of which the proof says nothing.` : "";
    return { ok: true, text: `Aggregator ${short(found.aggregator)} committed this root for epoch ${epoch}.${warning}` };
  }
  if (found !== undefined) return { ok: false, text: `This root was committed for epoch ${epoch}, but the commitment was voided.` };
  if (others.length === 0) return { ok: false, text: `Nothing is committed for epoch ${epoch}.` };
  return { ok: false, text: `For epoch ${epoch} another root is committed: ${others.map(({ root }) => short(bare(root))).join(", ")}.` };
}

function reportSaid(found: Pick<Report, "rewardRoot" | "total"> | undefined, root: string, total: bigint, epoch: bigint): Said {
  if (found === undefined) return { ok: false, text: `No report of epoch ${epoch} stands.` };
  if (bare(found.rewardRoot) !== root) return { ok: false, text: `The report of epoch ${epoch} has another reward root: ${short(bare(found.rewardRoot))}.` };
  if (found.total !== total) return { ok: false, text: `The report of epoch ${epoch} has another total.` };
  return { ok: true, text: `The report of epoch ${epoch} has this reward root and this total.` };
}

/** The root of a commitment that a proof is about; null: it is about none. */
function committedRoot(proof: ProofFile): string | null {
  if (proof.kind === "log_inclusion") return hex(proof.fields.entry.subarray(61, 93));
  return "committed_root" in proof.fields ? hex(proof.fields.committed_root) : null;
}

/** What the site says of a receipt's aggregator: whether it has committed to the deadline's epoch, or the last one before. */
async function siteKnows(site: Site, receipt: Receipt): Promise<Said> {
  const account = `0x${hex(receipt.aggregator)}`;
  const epochs = (await site.epochs()).map(({ epoch }) => epoch).filter((epoch) => BigInt(epoch) <= receipt.deadlineEpoch);
  for (const epoch of epochs.sort((a, b) => b - a).slice(0, 3)) {
    const { commitments } = await site.epoch(epoch);
    if (commitments.some(({ aggregator }) => aggregator === account)) {
      return { ok: true, text: `${short(account)} is an aggregator: it committed to epoch ${epoch}.` };
    }
  }
  return { ok: null, text: `It knows no commitment of ${short(account)} in the epochs up to the deadline.` };
}

/** What the site says of the root of a proof that holds, or of a receipt's signer. */
async function siteSays(site: Site, network: Network, { proof, receipt }: Subject): Promise<Said> {
  if (receipt !== undefined) return siteKnows(site, receipt);
  if (proof.fields.network !== network.network) {
    return { ok: false, text: `The proof is of the network ${proof.fields.network}, this site is that of ${network.network}.` };
  }
  if (proof.kind === "log_consistency") {
    return { ok: null, text: "The roots of the epoch log stand in signed checkpoints, not on chain: compare with one of them." };
  }
  const { epoch } = proof.fields;
  const found = await site.epoch(Number(epoch));
  if (proof.kind === "claim") {
    const standing = found.reports.find((report) => report.standing);
    return reportSaid(standing, hex(proof.fields.reward_root), proof.fields.total_atto, epoch);
  }
  const root = committedRoot(proof);
  return sayOf(found.commitments.find((one) => bare(one.root) === root), found.commitments, epoch, proof.kind.startsWith("absent"));
}

/** A commitment with all its words, as the chain must be asked for it: from the proof where it has them, else from the site. */
async function wordsOf(site: Site, network: Network, proof: ProofFile): Promise<Committed | null> {
  if (proof.kind === "log_inclusion") {
    const { entry, epoch } = proof.fields;
    return {
      epoch,
      aggregator: hex(entry.subarray(41, 61)),
      root: hex(entry.subarray(61, 93)),
      nodes: Number(toUint(entry.subarray(93, 101))),
      annotation: entry.subarray(101, 125),
      manifest: hex(entry.subarray(125)),
    };
  }
  if (proof.kind === "log_consistency" || proof.kind === "claim") return null;
  const { commitments } = await site.epoch(Number(proof.fields.epoch));
  const root = committedRoot(proof);
  const found = commitments.find((one) => bare(one.root) === root);
  if (found === undefined) return null;
  const { aggregator, nodes, jobs, sums, manifest } = found;
  return {
    epoch: proof.fields.epoch,
    aggregator: bare(aggregator),
    root: root as string,
    nodes,
    annotation: annotationOf(jobs, sums, network.lanes),
    manifest,
  };
}

/** What the chain of a wallet says of the root of a proof that holds, or of a receipt's signer. */
async function chainSays(provider: Provider, site: Site, network: Network, { proof, receipt }: Subject): Promise<Said> {
  if (receipt !== undefined) {
    const account = `0x${hex(receipt.aggregator)}`;
    const known = await readIsAggregator(provider, network, account);
    return known
      ? { ok: true, text: `The contract Commitments has ${short(account)} as an aggregator.` }
      : { ok: false, text: `The contract Commitments does not have ${short(account)} as an aggregator, or it was slashed.` };
  }
  if (proof.kind === "log_consistency") return { ok: null, text: "The roots of the epoch log do not stand on chain." };
  const { epoch } = proof.fields;
  if (proof.kind === "claim") {
    const report = await readReport(provider, network, epoch);
    const said = reportSaid(report ?? undefined, hex(proof.fields.reward_root), proof.fields.total_atto, epoch);
    const isOpen = report !== null && report.unlockAtS > Date.now() / 1000;
    return said.ok && isOpen ? { ok: true, text: `${said.text} It can still be disputed until ${dateTime(report.unlockAtS)} UTC.` } : said;
  }
  const words = await wordsOf(site, network, proof);
  if (words === null) {
    return { ok: false, text: `The site knows no commitment of epoch ${epoch} with this root, so there is nothing to ask the chain for.` };
  }
  const stands = await readIsCommitment(provider, network, words);
  return stands
    ? { ok: true, text: `The contract Commitments has this root for epoch ${epoch}, by ${short(`0x${words.aggregator}`)}, and it is not void.` }
    : { ok: false, text: `The contract Commitments does not have this root for epoch ${epoch}.` };
}

function Line({ who, said, children }: { who: string; said: Said | null; children?: ComponentChildren }) {
  const mark = said === null || said.ok === null ? "–" : said.ok ? "✓" : "✗";
  const kind = said === null || said.ok === null ? "" : said.ok ? "holds" : "fails";
  return (
    <li class={`said ${kind}`}>
      <span class="said-mark" aria-hidden="true">{mark}</span>
      <div>
        <strong>{who}</strong>{" "}
        <span role="status">{said?.text ?? ""}</span>
        {children}
      </div>
    </li>
  );
}

function failed(error: unknown): Said {
  return { ok: null, text: error instanceof Error ? error.message : String(error) };
}

interface OwnProps {
  own: string;
  setOwn: (text: string) => void;
  said: Said | null;
}

/** The root that the reader knows from elsewhere. */
function OwnRoot({ own, setOwn, said }: OwnProps) {
  return (
    <Line who="A root that you trust:" said={said}>
      <label class="own-root">
        <span class="hidden">Root to compare with, 64 hex digits</span>
        <input
          value={own}
          placeholder="64 hex digits, from a node or explorer of the chain"
          spellcheck={false}
          autocomplete="off"
          onInput={(event) => setOwn(event.currentTarget.value)}
        />
      </label>
    </Line>
  );
}

interface ChainProps {
  subject: Subject;
  said: Said | null;
  tell: (said: Said) => void;
}

/** The chain of the reader's own wallet, asked when the reader wants it. */
function WalletChain({ subject, said, tell }: ChainProps) {
  const { site, network } = useSite();
  const chosen = useWallets();
  const askChain = async () => {
    const provider = chosen.wallet?.provider;
    if (provider === undefined) return;
    tell({ ok: null, text: "Asking…" });
    try {
      if ((await chainOf(provider)) !== network.chainId) {
        await connect(provider); // wallets switch only for pages that they know
        await useChain(provider, network);
      }
      tell(await chainSays(provider, site, network, subject));
    } catch (error) {
      tell(failed(error));
    }
  };
  const contract = contractOf(network.contracts, subject.proof?.kind === "claim" ? "evaluations" : "commitments");
  return (
    <Line who="Your wallet's chain:" said={said}>
      {chosen.wallet === null ? (
        <span>No wallet is in this browser, so the page has no chain to ask.</span>
      ) : (
        <div class="row">
          <WalletChoice {...chosen} />
          <button type="button" onClick={askChain}>Ask the wallet's chain</button>
        </div>
      )}
      {contract === null ? null : (
        <p class="quiet small">
          Asked is the contract <code class="digits">{contract}</code> on chain {network.chainId}. That it is the network's, this site says:
          compare the address with one that you know.
        </p>
      )}
    </Line>
  );
}

interface Props {
  subject: Subject;
  said: { site: Said | null; chain: Said | null; own: Said | null };
  tell: (who: "site" | "chain", said: Said) => void;
  own: string;
  setOwn: (text: string) => void;
}

/** The comparisons of a proof that holds, or of a receipt that does. */
export function RootCompared({ subject, said, tell, own, setOwn }: Props) {
  const { site, network, revision } = useSite();
  useEffect(() => {
    let current = true;
    const say = (one: Said) => current && tell("site", one);
    siteSays(site, network, subject).then(say, (error: unknown) => say(failed(error)));
    return () => {
      current = false;
    };
  }, [site, revision, subject]);
  return (
    <>
      {subject.proof === undefined ? (
        <p>The receipt names its signer itself. It binds somebody only if that is an aggregator of this network.</p>
      ) : (
        <p>
          The steps lead to the root <code class="digits">{hex(rootOf(subject.proof))}</code>. They prove something only if that root is the
          one on chain.
        </p>
      )}
      <ul class="saids">
        <Line who="This site:" said={said.site ?? { ok: null, text: "reading…" }}>
          {said.site?.ok ? <p class="quiet small">The site could say anything. Your own source, below, says more.</p> : null}
        </Line>
        <WalletChain subject={subject} said={said.chain} tell={(one) => tell("chain", one)} />
        {subject.proof === undefined ? null : <OwnRoot own={own} setOwn={setOwn} said={said.own} />}
      </ul>
    </>
  );
}
