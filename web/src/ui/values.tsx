/** Amounts, digests, times and states: each looks the same on every page, and none loses its full value. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { announce } from "../app/announce.ts";
import { useSite } from "../app/site.ts";
import { count, dateTime, exactCoins, shortCoins, shortHex, shortName, shortWeight, span } from "./format.ts";
import { placeNote } from "./placing.ts";

/** From 100 coins on, two decimals are enough where the whole amount opens beside it. */
const BRIEF_FROM = 100n * 10n ** 18n;

/**
 * An amount with its unit. `focus`: the full value opens on hover and focus; in tables it is the title. `bare`: the
 * heading of the column names the coin.
 */
export function Amount({ atto, focus = false, bare = false }: { atto: bigint; focus?: boolean; bare?: boolean }) {
  const { coin } = useSite().network;
  const { text, unit } = shortCoins(atto, focus && (atto >= BRIEF_FROM || atto <= -BRIEF_FROM) ? 2 : undefined);
  const whole = `${exactCoins(atto)} ${coin}`;
  const shown = (
    <>
      {text}
      {bare && unit === "coin" ? null : <span class="unit"> {unit === "coin" ? coin : `atto${coin}`}</span>}
    </>
  );
  if (!focus) return <span class="amount" title={whole}>{shown}</span>;
  return <Whole atto={atto} whole={whole}>{shown}</Whole>;
}

/** The note with the whole amount is there for screen readers too; Escape closes it. */
function Whole({ atto, whole, children }: { atto: bigint; whole: string; children: ComponentChildren }) {
  const anchor = useRef<HTMLSpanElement>(null);
  const note = useRef<HTMLSpanElement>(null);
  const place = () => placeNote(anchor.current, note.current);
  const escape = (event: KeyboardEvent) => {
    if (event.key === "Escape") anchor.current?.blur();
  };
  return (
    <span class="amount" tabIndex={0} ref={anchor} onFocus={place} onPointerEnter={place} onKeyDown={escape}>
      {children}
      <span class="whole" ref={note}>
        {whole}
        <br />= {count(atto)} atto
      </span>
    </span>
  );
}

/** A weight in a table; the whole number is its title. */
export function Weight({ weight }: { weight: bigint }) {
  const [mantissa, power] = shortWeight(weight).split("^");
  return <span class="amount" title={count(weight)}>{mantissa}{power === undefined ? null : <sup>{power}</sup>}</span>;
}

/** Copy, also where the page has no secure context and so no clipboard of its own. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

export function CopyButton({ value, what }: { value: string; what: string }) {
  const [done, setDone] = useState(false);
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  const press = async () => {
    const copied = await copy(value);
    announce(copied ? `Copied: ${what}` : "The browser does not let the page copy");
    setDone(copied);
    timer.current = window.setTimeout(() => setDone(false), 1500);
  };
  return (
    <button type="button" class="copy" aria-label={`Copy ${what}`} title={done ? "Copied" : `Copy ${what}`} onClick={press}>
      <svg viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5" aria-hidden="true">
        {done ? <path d="M3 8.5l3.2 3.2L13 4.5" /> : <path d="M5.5 5.5h7v8h-7zM10.5 5V2.5h-7v8H5" />}
      </svg>
    </button>
  );
}

/** A digest, address or CID: its ends, the whole as title, and a button that copies it. */
export function Hex({ value, what, href }: { value: string; what: string; href?: string }) {
  const text = <code title={value}>{shortHex(value)}</code>;
  return (
    <span class="hex">
      {href === undefined ? text : <a href={href}>{text}</a>}
      <CopyButton value={value} what={what} />
    </span>
  );
}

/** A link under the name of a node or job, which may be long: the whole name is its title. */
export function NameLink({ name, href }: { name: string; href: string }) {
  return <a class="name" href={href} title={name}>{shortName(name)}</a>;
}

/** A time of the chain. */
export function Moment({ seconds }: { seconds: number }) {
  return <time dateTime={new Date(seconds * 1000).toISOString()}>{dateTime(seconds)} UTC</time>;
}

/** How long until a time of the chain, counted on from the moment at which the site was made. */
export function Countdown({ untilS, over }: { untilS: number; over: string }) {
  const { network, receivedMs } = useSite();
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const left = untilS - (network.madeAtS + Math.max(0, now - receivedMs) / 1000);
  return <span>{left > 0 ? `${span(left)} left` : over}</span>;
}

const STATES: { [state: string]: string } = {
  open: "Open",
  sealed: "Sealed",
  committed: "Evaluating",
  challenge: "Challenge window",
  paid: "Payable",
  void: "Void",
  abandoned: "Abandoned",
};

export function stateName(state: string): string {
  return STATES[state] ?? state.charAt(0).toUpperCase() + state.slice(1);
}

/** A state in a word; the mark beside it only repeats it. */
export function State({ state }: { state: string }) {
  return <span class={`state state-${state}`}>{stateName(state)}</span>;
}

/** A part of a whole as a bar; the figure stands beside it. */
export function Bar({ part, kind = "" }: { part: number; kind?: string }) {
  return (
    <span class="bar-track" aria-hidden="true">
      <span class={`bar ${kind}`} ref={(bar) => { if (bar) bar.style.width = `${Math.min(100, part * 100)}%`; }} />
    </span>
  );
}
