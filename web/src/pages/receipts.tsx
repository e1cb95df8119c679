/** A field for an operator's own receipts: what each promises, until when, and whether its signature and signer are right. */

import { useEffect, useRef, useState } from "preact/hooks";

import { announce } from "../app/announce.ts";
import { useLoad, useSite } from "../app/site.ts";
import type { Site } from "../data/types.ts";
import { bytesText, count, plural, shortName } from "../ui/format.ts";
import { DataTable } from "../ui/table.tsx";
import { Hex, Moment } from "../ui/values.tsx";
import { FILE_BYTES_MAX } from "../verifier/document.ts";
import { FILES_MAX, type Found, type OwnReceipt, readReceipts } from "./receipt_files.ts";
import "../style/checker.css";

/** So many of the newest epochs are looked through for aggregators. */
const EPOCHS_LOOKED = 8;
const TROUBLES_SHOWN = 20;

/** The accounts that committed to an epoch or to one of the site's newest, and the newest epoch that each committed to. */
async function aggregatorsOf(site: Site, epoch: number): Promise<Map<string, number>> {
  const newest = (await site.epochs()).map((row) => row.epoch).sort((a, b) => b - a).slice(0, EPOCHS_LOOKED);
  const known = new Map<string, number>();
  for (const one of new Set([epoch, ...newest])) {
    for (const { aggregator } of (await site.epoch(one)).commitments) if (!known.has(aggregator)) known.set(aggregator, one);
  }
  return known;
}

/** What the first comparison that fails means; those before the signature are about the network. */
function faultWords(fault: string): string {
  if (fault === "signature") return "does not hold: it belongs to no key";
  if (fault === "signer") return "does not hold: it is not the named aggregator's, or a figure was changed";
  return `of another network: its ${fault} is another`;
}

function wrongWords(wrong: number): string {
  if (wrong === 0) return "all signatures hold";
  return wrong === 1 ? "one does not hold" : `${count(wrong)} do not hold`;
}

function Signer({ receipt, known }: { receipt: OwnReceipt; known: Map<string, number> | null }) {
  const epoch = known?.get(receipt.aggregator);
  if (known === null) return <>not known yet</>;
  return epoch === undefined ? <strong>not known to this site</strong> : <>yes, committed to epoch {epoch}</>;
}

function Listed({ found, known }: { found: Found; known: Map<string, number> | null }) {
  const wrong = found.receipts.filter(({ fault }) => fault !== null).length;
  return (
    <>
      {found.troubles.length === 0 ? null : (
        <div class="error">
          <p><strong>Not everything could be used.</strong></p>
          <ul>
            {found.troubles.slice(0, TROUBLES_SHOWN).map(({ file, reason }) => <li><code>{file}</code>: {reason}</li>)}
          </ul>
          {found.troubles.length <= TROUBLES_SHOWN ? null : <p>And {count(found.troubles.length - TROUBLES_SHOWN)} more.</p>}
        </div>
      )}
      {found.receipts.length === 0 ? null : (
        <DataTable
          caption={`${plural(found.receipts.length, "receipt")}; ${wrongWords(wrong)}`}
          rows={found.receipts}
          first={{ name: "Number", down: false }}
          text={({ file, aggregator, sequence }) => `${file} ${aggregator} ${sequence}`}
          filterLabel="File, aggregator or number"
          empty=""
          columns={[
            { name: "Number", number: true, cell: ({ sequence }) => count(sequence), order: ({ sequence }) => sequence },
            { name: "Received", cell: ({ receivedAtS }) => (receivedAtS < 1e11 ? <Moment seconds={receivedAtS} /> : "no date"), order: ({ receivedAtS }) => receivedAtS },
            { name: "Counted by epoch", number: true, cell: ({ deadlineEpoch }) => String(deadlineEpoch), order: ({ deadlineEpoch }) => deadlineEpoch },
            { name: "Signature", wide: true, cell: ({ fault }) => (fault === null ? "holds" : <strong>{faultWords(fault)}</strong>), order: ({ fault }) => fault ?? "" },
            { name: "Aggregator", cell: ({ aggregator }) => <Hex value={aggregator} what="the aggregator's address" />, order: ({ aggregator }) => aggregator },
            { name: "Aggregator of this network", cell: (receipt) => <Signer receipt={receipt} known={known} /> },
            { name: "File", cell: ({ file }) => <span title={file}>{shortName(file)}</span>, order: ({ file }) => file },
          ]}
        />
      )}
    </>
  );
}

export function OwnReceipts({ epoch }: { epoch: number }) {
  const { network } = useSite();
  const [found, setFound] = useState<Found | null>(null);
  const [busy, setBusy] = useState(false);
  const [over, setOver] = useState(false);
  const turn = useRef(0);
  const wanted = found !== null && found.receipts.length > 0;
  const known = useLoad((site) => (wanted ? aggregatorsOf(site, epoch) : Promise.resolve(null)), ["aggregators", epoch, wanted]);
  useEffect(
    () => () => {
      turn.current += 1;
    },
    [],
  );
  const take = async (files: File[]) => {
    setOver(false);
    if (files.length === 0) return;
    turn.current += 1;
    const mine = turn.current;
    setBusy(true);
    const read = await readReceipts(files, network, () => turn.current !== mine);
    if (turn.current !== mine) return;
    setBusy(false);
    setFound(read);
    announce(`${plural(read.receipts.length, "receipt")} checked, ${plural(read.troubles.length, "file")} with trouble`);
  };
  return (
    <div class="receipts">
      <div
        class={over ? "drop over" : "drop"}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          void take([...(event.dataTransfer?.files ?? [])]);
        }}
      >
        <p class="drop-label">
          Your receipts, several files at once: JSON as the measure service answers and <code>meridian receipt show</code> prints, or one on each
          line of a <code>.jsonl</code>. At most {count(FILES_MAX)} files of {bytesText(FILE_BYTES_MAX)}. They are read here, and nothing is sent anywhere.
        </p>
        <div class="row">
          <label class="button">
            Choose receipts
            <input
              class="hidden"
              type="file"
              multiple
              accept=".json,.jsonl,.ndjson,application/json"
              onChange={(event) => {
                void take([...(event.currentTarget.files ?? [])]);
                event.currentTarget.value = ""; // so that the same files can be chosen again
              }}
            />
          </label>
          {found === null ? null : <button type="button" onClick={() => setFound(null)}>Clear</button>}
          {busy ? <span class="loading">Checking signatures…</span> : null}
        </div>
      </div>
      {known.state === "failed" ? <p class="error" role="alert">Cannot read who the aggregators are: {known.reason}</p> : null}
      {found === null ? null : <Listed found={found} known={known.state === "ready" ? known.value : null} />}
    </div>
  );
}
