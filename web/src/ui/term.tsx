/** A technical word that explains itself when it is pressed. */

import type { ComponentChildren } from "preact";
import { useId, useRef } from "preact/hooks";

import { GLOSSARY, type Word } from "./glossary.ts";

const EDGE = 16;

export function Term({ word, children }: { word: Word; children?: ComponentChildren }) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const note = useRef<HTMLSpanElement>(null);
  const place = () => {
    if (button.current === null || note.current === null) return;
    const at = button.current.getBoundingClientRect();
    const size = note.current.getBoundingClientRect();
    const below = at.bottom + size.height + EDGE < innerHeight || at.top < size.height + EDGE;
    note.current.style.left = `${Math.max(EDGE, Math.min(at.left, innerWidth - size.width - EDGE))}px`;
    note.current.style.top = `${below ? at.bottom + 6 : at.top - size.height - 6}px`;
  };
  const named = children === undefined ? { "aria-label": `What does “${word}” mean?` } : {};
  return (
    <>
      <button type="button" class="term" ref={button} popovertarget={id} {...named}>
        {children ?? "?"}
      </button>
      <span id={id} popover="auto" role="note" class="term-note" ref={note} onToggle={place}>
        {GLOSSARY[word]}
      </span>
    </>
  );
}
