/** Claiming with a wallet: what is due, one transaction, and what came of it. */

import { useEffect, useRef, useState } from "preact/hooks";

import { inFileName, saveFile } from "../app/saving.ts";
import { useSite } from "../app/site.ts";
import type { Claim, Network } from "../data/types.ts";
import { claimDocument } from "../pages/checker_claim.ts";
import { Amount, Hex, Moment } from "../ui/values.tsx";
import { claimCall, revertReason } from "./calls.ts";
import { ask, connect, follow, type Mined, type Provider, simulate, useChain, WalletError } from "./provider.ts";
import { placeOf, readClaimed } from "./reading.ts";
import { useWallets, WalletChoice } from "./use_wallet.tsx";

/** What the contract's reasons mean to a node's operator. */
const REASONS: { [reason: string]: string } = {
  "rewards: locked": "The challenge window of this report is still open: nothing is paid before it ends.",
  "rewards: nothing": "Everything that this report gives the node has been paid already.",
  "rewards: unreported": "No report of this epoch stands on chain; it may have been voided. Wait for the next report.",
  "rewards: proof": "The chain has other amounts than this site. The site's files are wrong or out of date: do not claim with them.",
  "rewards: sums": "The chain has another total than this site. The site's files are wrong or out of date: do not claim with them.",
  "rewards: voiding": "Reports are being voided right now. Try again in a few minutes.",
  "rewards: reserve": "The contract does not hold enough free money at the moment.",
  "rewards: payment": "The payee's account refuses the money. A payee that is a contract must be able to receive it.",
};

type Stage =
  | { at: "ready" }
  | { at: "busy"; saying: string; hash?: string }
  | { at: "done"; mined: Mined | null; paid: bigint }
  | { at: "failed"; reason: string; hash?: string };

interface Sending {
  provider: Provider;
  network: Network;
  claim: Claim;
  say: (saying: string, hash?: string) => void;
  stopped: () => boolean;
}

/** Send a claim and wait for it; null if it did not stand in a block before the wait was over, or the page was left. */
async function send({ provider, network, claim, say, stopped }: Sending): Promise<{ mined: Mined | null; paid: bigint } | null> {
  say("Waiting for the wallet: allow the page to see an account.");
  const from = await connect(provider);
  say(`Checking that the wallet is on chain ${network.chainId}.`);
  await useChain(provider, network);
  const rewards = placeOf(network, "rewards");
  const before = await readClaimed(provider, network, claim.nodeKey);
  const call = { from, to: rewards, data: claimCall(claim) };
  say("Asking the chain whether it would pay.");
  const would = await simulate(provider, call);
  if ("refused" in would) {
    const reason = revertReason(would.data, would.refused);
    throw new WalletError(REASONS[reason] ?? `The chain would refuse it: ${reason}`);
  }
  say("Waiting for the wallet: confirm the transaction there.");
  const hash = String(await ask(provider, "eth_sendTransaction", [call]));
  say("Sent. Waiting until it stands in a block.", hash);
  const claimed = () => readClaimed(provider, network, claim.nodeKey);
  const end = await follow(provider, hash, { stopped, reached: async () => (await claimed()) >= claim.cumulative });
  if (end === null) return null;
  const mined = end === "reached" ? null : end;
  if (mined !== null && !mined.succeeded) throw new WalletError(`The transaction was reverted in block ${mined.block}: nothing was paid.`);
  return { mined, paid: (await claimed()) - before };
}

/** What the node has had: as the wallet's chain says where the wallet is on it, else as the site says. */
function useClaimed(provider: Provider | null, claim: Claim, turn: number): { atto: bigint; fromChain: boolean } {
  const { network } = useSite();
  const [found, setFound] = useState<bigint | null>(null);
  useEffect(() => {
    let current = true;
    setFound(null);
    if (provider !== null) {
      readClaimed(provider, network, claim.nodeKey).then(
        (atto) => current && setFound(atto),
        () => undefined, // no chain to ask: the site's figure is shown, and named as the site's
      );
    }
    return () => {
      current = false;
    };
  }, [provider, claim.nodeKey, claim.claimed, turn]);
  return found === null ? { atto: claim.claimed, fromChain: false } : { atto: found, fromChain: true };
}

function Outcome({ stage }: { stage: Stage }) {
  const hash = stage.at === "done" ? stage.mined?.hash : stage.at === "ready" ? undefined : stage.hash;
  const kind = { ready: "", busy: "note", done: "ok", failed: "bad" }[stage.at];
  return (
    <div class={kind} role="status" aria-live="polite" data-stage={stage.at}>
      {stage.at === "busy" ? stage.saying : null}
      {stage.at === "failed" ? stage.reason : null}
      {stage.at === "done" ? (
        <>
          <strong>Paid: </strong>
          <Amount atto={stage.paid} />
          {stage.mined === null ? ", by another transaction than the one that was sent." : (
            <> in block {stage.mined.block}, for {stage.mined.gas.toLocaleString("en")} gas.</>
          )}
        </>
      ) : null}
      {hash === undefined ? null : (
        <>
          {" "}
          Transaction <Hex value={hash} what="the transaction's hash" />
        </>
      )}
    </div>
  );
}

/** What a node can claim, and the button that does it. */
export function ClaimButton({ claim }: { claim: Claim }) {
  const { network } = useSite();
  const chosen = useWallets();
  const [stage, setStage] = useState<Stage>({ at: "ready" });
  const [turn, setTurn] = useState(0);
  const provider = chosen.wallet?.provider ?? null;
  const claimed = useClaimed(provider, claim, turn);
  const due = claim.cumulative > claimed.atto ? claim.cumulative - claimed.atto : 0n;
  const left = useRef(false);
  useEffect(
    () => () => {
      left.current = true;
    },
    [],
  );
  const press = async () => {
    if (provider === null) return;
    let hash: string | undefined;
    const say = (saying: string, sent?: string) => {
      hash = sent;
      setStage(sent === undefined ? { at: "busy", saying } : { at: "busy", saying, hash: sent });
    };
    try {
      const result = await send({ provider, network, claim, say, stopped: () => left.current });
      if (result !== null) setStage({ at: "done", ...result });
      else setStage({ at: "failed", reason: "It does not stand in a block yet. Look it up in the wallet.", ...(hash && { hash }) });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      setStage({ at: "failed", reason, ...(hash && { hash }) });
    }
    setTurn((old) => old + 1);
  };
  return (
    <div class="claim">
      <dl class="facts">
        <dt>Due now</dt>
        <dd>
          <strong><Amount atto={due} focus /></strong>{" "}
          <span class="quiet">
            earned <Amount atto={claim.cumulative} />, paid <Amount atto={claimed.atto} />{" "}
            {claimed.fromChain ? "(your wallet's chain says)" : "(this site says)"}
          </span>
        </dd>
        <dt>Goes to</dt>
        <dd><Hex value={claim.payee} what="the payee's address" />, whoever sends the transaction</dd>
        <dt>Payable from</dt>
        <dd><Moment seconds={claim.unlockAtS} /></dd>
        <dt>Proof</dt>
        <dd><ClaimProof claim={claim} /></dd>
      </dl>
      {provider === null ? <NoWallet /> : (
        <div class="row">
          <WalletChoice {...chosen} />
          <button type="button" class="primary" disabled={stage.at === "busy" || due === 0n} onClick={press}>
            {due === 0n ? "Everything is paid" : "Claim with your wallet"}
          </button>
        </div>
      )}
      <Outcome stage={stage} />
    </div>
  );
}

/** The claim's proof, checked in the page or taken along as a file. */
function ClaimProof({ claim }: { claim: Claim }) {
  const { site, network } = useSite();
  const [trouble, setTrouble] = useState<string | null>(null);
  const download = async () => {
    try {
      const bytes = await claimDocument(site, network, claim.nodeKey);
      setTrouble(bytes === null ? "This site does not have the claim any more: load the page again." : null);
      if (bytes !== null) saveFile(new Uint8Array(bytes), `claim-epoch-${claim.epoch}-${inFileName(claim.nodeKey.slice(0, 16))}.json`);
    } catch (error) {
      setTrouble(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <>
      <div class="row">
        <a href={`#/proof?claim=${claim.nodeKey}`}>Check this claim in your browser</a>
        <button type="button" onClick={download}>Download the claim's proof</button>
      </div>
      {trouble === null ? null : <p class="error" role="alert">{trouble}</p>}
    </>
  );
}

function NoWallet() {
  return (
    <p class="note">
      No wallet is in this browser. Open this page in one that has a wallet (any that follows EIP-1193), or claim on the command line with{" "}
      <code>meridian chain claim</code>. Anybody may send the claim: the money goes to the payee.
    </p>
  );
}
