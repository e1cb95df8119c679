/** A complaint about an epoch: written by who answers for a node, signed with the wallet, kept by the site's server. */

import { useEffect, useId, useState } from "preact/hooks";

import { useSite } from "../app/site.ts";
import type { Complaint, Network } from "../data/types.ts";
import { hex, sha256, utf8 } from "../verifier/bytes.ts";
import { complaintTypedData } from "./calls.ts";
import { ask, connect, type Provider, useChain, WalletError } from "./provider.ts";
import { useWallets, WalletChoice } from "./use_wallet.tsx";

const TEXT_BYTES_MAX = 2000;

/** Where the site's server takes complaints; null: the site is plain files, and nobody does. */
async function deskOf(): Promise<string | null> {
  const answer = await fetch("data/server.json");
  if (!answer.ok) return null;
  const { complaints } = (await answer.json()) as { complaints?: unknown };
  return typeof complaints === "string" ? complaints : null;
}

interface Filing {
  provider: Provider;
  network: Network;
  desk: string;
  epoch: number;
  nodeId: string;
  text: string;
  say: (saying: string) => void;
}

async function file({ provider, network, desk, epoch, nodeId, text, say }: Filing): Promise<Complaint> {
  say("Waiting for the wallet: allow the page to see the account that answers for the node.");
  const account = await connect(provider);
  await useChain(provider, network); // wallets sign for the chain that they are on
  const complaint = { nodeKey: hex(sha256(utf8(nodeId))), epoch, text, atS: Math.floor(Date.now() / 1000) };
  const typed = complaintTypedData(network, complaint);
  say("Waiting for the wallet: sign the complaint there. It costs nothing.");
  const signature = await ask(provider, "eth_signTypedData_v4", [account, JSON.stringify(typed)]);
  say("Filing it.");
  const { message } = typed as { message: object };
  const body = JSON.stringify({ ...message, nodeId, signature });
  const answer = await fetch(desk, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  const told = (await answer.json().catch(() => ({}))) as { complaint?: Complaint; error?: { field: string; reason: string } };
  if (told.complaint !== undefined) return told.complaint;
  const { field, reason } = told.error ?? { field: "", reason: `it answered ${answer.status}` };
  throw new WalletError(`The server does not take it: ${field ? `${field}: ` : ""}${reason}.`);
}

type Stage = { at: "ready" } | { at: "busy"; saying: string } | { at: "done"; complaint: Complaint } | { at: "failed"; reason: string };

function Outcome({ stage }: { stage: Stage }) {
  const kind = { ready: "", busy: "note", done: "ok", failed: "bad" }[stage.at];
  return (
    <div class={kind} role="status" aria-live="polite" data-stage={stage.at}>
      {stage.at === "busy" ? stage.saying : null}
      {stage.at === "failed" ? stage.reason : null}
      {stage.at === "done" ? (
        <>
          <strong>Filed.</strong> It is {stage.complaint.state}, and stands under <a href="#/complaints">Complaints</a> with its answer
          once there is one.
        </>
      ) : null}
    </div>
  );
}

/** The form; says clearly what is missing where a complaint cannot be filed. */
export function ComplaintForm({ epoch, nodeId }: { epoch: number; nodeId: string }) {
  const { network } = useSite();
  const chosen = useWallets();
  const [desk, setDesk] = useState<string | null | "?">("?");
  const [text, setText] = useState("");
  const [stage, setStage] = useState<Stage>({ at: "ready" });
  const [field, hint] = [useId(), useId()];
  useEffect(() => {
    deskOf().then(setDesk, () => setDesk(null));
  }, []);
  if (desk === "?") return null;
  if (desk === null) {
    return <p class="note">This site is plain files, and nobody takes complaints here. The network's own explorer (<code>meridian web</code>) does.</p>;
  }
  const bytes = utf8(text.trim()).length;
  const provider = chosen.wallet?.provider ?? null;
  const ready = provider !== null && bytes > 0 && bytes <= TEXT_BYTES_MAX && stage.at !== "busy";
  const submit = async (event: Event) => {
    event.preventDefault();
    if (!ready) return;
    const say = (saying: string) => setStage({ at: "busy", saying });
    try {
      // Tabs are not taken, as they would not be seen.
      const complaint = await file({ provider, network, desk, epoch, nodeId, text: text.trim().replace(/\t/g, " "), say });
      setStage({ at: "done", complaint });
      setText("");
    } catch (error) {
      setStage({ at: "failed", reason: error instanceof Error ? error.message : String(error) });
    }
  };
  return (
    <form class="complaint" onSubmit={submit}>
      <p>
        <label for={field}>What is wrong with epoch {epoch}?</label>
        <textarea
          id={field}
          value={text}
          aria-describedby={hint}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <span id={hint} class="quiet small">
          {bytes.toLocaleString("en")} of {TEXT_BYTES_MAX.toLocaleString("en")} bytes. Everybody can read it. Sign with the node's operator or payee.
        </span>
      </p>
      {provider === null ? (
        <p class="note">
          No wallet is in this browser, and a complaint must be signed by who answers for the node. Open this page in a browser with a
          wallet, or use <code>meridian complaint file</code>.
        </p>
      ) : null}
      <div class="row">
        <WalletChoice {...chosen} />
        <button type="submit" class="primary" disabled={!ready}>Sign and file</button>
      </div>
      <Outcome stage={stage} />
    </form>
  );
}
