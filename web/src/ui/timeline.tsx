/** The states of an epoch as stations on one line: where it is, since when, and what comes next. */

import type { ComponentChildren } from "preact";

import type { Epoch } from "../data/types.ts";
import { Countdown, Moment } from "./values.tsx";

interface Station {
  name: string;
  at: number | null;
  note?: ComponentChildren;
}

const REACHED: { [state: string]: number } = { open: 0, sealed: 1, committed: 3, challenge: 4, paid: 5, void: 4, abandoned: 3 };

function stations({ row, openedS, commitments, reports }: Epoch): Station[] {
  const committed = commitments.find(({ standing }) => standing)?.transaction?.atS ?? null;
  const report = reports.find(({ standing }) => standing) ?? reports[0];
  const reported = report?.transaction?.atS ?? null;
  const replayed = openedS !== null && row.endS < openedS;
  const failed = row.state === "void" ? "Void" : row.state === "abandoned" ? "Abandoned" : null;
  return [
    { name: "Open", at: openedS, note: row.state === "open" ? <Countdown untilS={row.endS} over="has ended" /> : undefined },
    replayed
      ? { name: "Sealed", at: null, note: <>of earlier jobs, up to <Moment seconds={row.endS} /></> }
      : { name: "Sealed", at: row.endS, note: row.state === "open" ? "when the epoch ends" : undefined },
    { name: "Committed", at: committed, note: committed === null ? "jobs, as one root on chain" : undefined },
    { name: failed === "Abandoned" ? failed : "Evaluating", at: null, note: failed === "Abandoned" ? "nobody can report it any more; its budget has rolled forward" : row.state === "committed" ? "evaluators are at work" : "evaluators compute and agree" },
    {
      name: failed === "Void" ? failed : "Challenge window",
      at: reported,
      note: failed === "Void" ? "its reports were voided, and none stands" : row.state === "challenge" && row.unlockAtS !== null ? <Countdown untilS={row.unlockAtS} over="is over" /> : reported === null ? "report on chain, claims locked" : undefined,
    },
    { name: "Payable", at: row.unlockAtS, note: row.unlockAtS === null ? "payees can claim" : undefined },
  ];
}

export function Timeline({ epoch }: { epoch: Epoch }) {
  const { state } = epoch.row;
  const here = REACHED[state] ?? 0;
  const failed = state === "void" || state === "abandoned";
  return (
    <ol class="timeline" aria-label="States of the epoch">
      {stations(epoch).map(({ name, at, note }, i) => {
        const kind = i < here || state === "paid" ? "done" : i > here ? "coming" : failed ? "failed" : "now";
        return (
          <li class={kind} aria-current={i === here ? "step" : undefined}>
            <b>{name}</b>
            {at === null || (i > here && name !== "Payable" && name !== "Sealed") ? null : <Moment seconds={at} />}
            {note === undefined ? null : <small>{note}</small>}
            <span class="hidden">{{ done: "done", now: "now", coming: "still to come", failed: "ended here" }[kind]}</span>
          </li>
        );
      })}
    </ol>
  );
}
