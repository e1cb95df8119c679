/** What every page is built of: its title, sections, facts, and what stands in for data that is not there. */

import type { ComponentChildren } from "preact";
import { useEffect, useId } from "preact/hooks";

import type { Loaded } from "../app/site.ts";
import { useSite } from "../app/site.ts";

/** The only first heading; the frame moves the focus here when the page changes. */
export function PageTitle(props: { title: string; kicker?: ComponentChildren; aside?: ComponentChildren; lead?: ComponentChildren }) {
  const { network } = useSite();
  useEffect(() => {
    document.title = props.title === network.network ? `${props.title} · Meridian` : `${props.title} · ${network.network} · Meridian`;
  }, [props.title, network.network]);
  return (
    <div class="title">
      {props.kicker === undefined ? null : <p class="kicker">{props.kicker}</p>}
      <div class="title-line">
        <h1 tabIndex={-1}>{props.title}</h1>
        {props.aside}
      </div>
      {props.lead === undefined ? null : <p class="lead">{props.lead}</p>}
    </div>
  );
}

/** `name`: by which the map of the page finds it. */
export function Section({ title, name, children }: { title: ComponentChildren; name?: string; children: ComponentChildren }) {
  const id = useId();
  return (
    <section class="section" aria-labelledby={id}>
      <h2 id={id} tabIndex={-1} data-name={name ?? (typeof title === "string" ? title : undefined)}>{title}</h2>
      {children}
    </section>
  );
}

/**
 * The sections of a long page. Buttons, as the part of the address behind # names the page; they move the focus, as a
 * link to a place would.
 */
export function PageMap({ sections }: { sections: string[] }) {
  const go = (name: string) => {
    const heading = [...document.querySelectorAll<HTMLElement>("main h2")].find(({ dataset }) => dataset["name"] === name);
    heading?.scrollIntoView();
    heading?.focus({ preventScroll: true });
  };
  return (
    <nav class="page-map" aria-label="On this page">
      {sections.map((name) => <button type="button" class="plain" onClick={() => go(name)}>{name}</button>)}
    </nav>
  );
}

/** Names and values; what is null is left out. */
export function Facts({ facts }: { facts: ([ComponentChildren, ComponentChildren] | null)[] }) {
  return (
    <dl class="facts">
      {facts.map((fact) => fact && [<dt>{fact[0]}</dt>, <dd>{fact[1]}</dd>])}
    </dl>
  );
}

export function Figures({ figures }: { figures: { name: ComponentChildren; value: ComponentChildren; note?: ComponentChildren }[] }) {
  return (
    <dl class="figures">
      {figures.map(({ name, value, note }) => (
        <div class="figure">
          <dt>{name}</dt>
          <dd>
            {value}
            {note === undefined ? null : <small>{note}</small>}
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** The value once it is there; before that a line, and after a failure what went wrong and what to do. */
export function Show<T>({ of, what, children }: { of: Loaded<T>; what: string; children: (value: T) => ComponentChildren }) {
  if (of.state === "ready") return <>{children(of.value)}</>;
  if (of.state === "loading") return <p class="loading">Reading {what}…</p>;
  return (
    <div class="error" role="alert">
      <p>
        <strong>Cannot read {what}.</strong> {of.reason}
      </p>
      <p>
        If this site is hosted as plain files, check that its <code>data/</code> folder is complete; <code>meridian web build</code> makes
        it anew.{" "}
        <button type="button" onClick={() => location.reload()}>
          Try again
        </button>
      </p>
    </div>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="note">{children}</p>;
}
