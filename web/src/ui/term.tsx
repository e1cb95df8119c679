/** A technical word that explains itself when it is pressed. */

import type { ComponentChildren } from "preact";
import { useId, useRef } from "preact/hooks";

import { GLOSSARY, type Word } from "./glossary.ts";
import { placeNote } from "./placing.ts";

export function Term({ word, children }: { word: Word; children?: ComponentChildren }) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const note = useRef<HTMLSpanElement>(null);
  const named = children === undefined ? { "aria-label": `What does “${word}” mean?` } : {};
  return (
    <>
      <button type="button" class="term" ref={button} popovertarget={id} {...named}>
        {children ?? "?"}
      </button>
      <span id={id} popover="auto" role="note" class="term-note" ref={note} onToggle={() => placeNote(button.current, note.current)}>
        {GLOSSARY[word]}
      </span>
    </>
  );
}
