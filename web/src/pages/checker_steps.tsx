/** Every step of a check: what went in, what came out, and where it breaks. */

import { useState } from "preact/hooks";

import { hex } from "../verifier/bytes.ts";
import { type Part, type Step, tagText } from "../verifier/steps.ts";
import { nodeText, sumsText } from "../verifier/tree.ts";
import { explain } from "./checker_words.ts";

const SIDES = /left|right/;

/** The bytes of a part, whole; of a node the hash, and its count and sums in words. */
function Bytes({ part, step }: { part: Part; step: Step }) {
  const isNode = step.how === "climb" && SIDES.test(part.label);
  const digits = hex(isNode ? part.data.subarray(0, 32) : part.data);
  return (
    <tr>
      <th scope="row">{part.label}</th>
      <td>
        <code class="digits">{digits || "(no bytes)"}</code>
        {isNode ? <span class="quiet">{sumsText(part.data, step.lanes)}</span> : null}
      </td>
    </tr>
  );
}

function Inside({ step }: { step: Step }) {
  if (step.compared !== null) {
    const [found, stated] = step.compared;
    const labels = step.how === "below" ? ["lower", "higher"] : ["found", "must be"];
    if (found === stated) {
      return <p class="small"><span class="quiet">both are</span> <code class="digits">{found}</code></p>;
    }
    return (
      <table class="parts">
        <tbody>
          <tr>
            <th scope="row">{labels[0]}</th>
            <td><code class="digits"><Differing text={found} other={stated} mark={!step.ok} /></code></td>
          </tr>
          <tr>
            <th scope="row">{labels[1]}</th>
            <td><code class="digits"><Differing text={stated} other={found} mark={!step.ok} /></code></td>
          </tr>
        </tbody>
      </table>
    );
  }
  if (step.result === null) return null;
  return (
    <table class="parts">
      <tbody>
        {step.tag === null ? null : (
          <tr>
            <th scope="row">tag</th>
            <td><code>{tagText(step.tag)}</code> <span class="quiet">the first byte that is hashed: it says what this is</span></td>
          </tr>
        )}
        {step.parts.map((part) => <Bytes part={part} step={step} key={part.label} />)}
        <tr class="result">
          <th scope="row">{step.how === "climb" ? "running root" : "result"}</th>
          <td>
            <code class="digits">{step.how === "climb" ? nodeText(step.result, null) : hex(step.result)}</code>
            {step.how === "climb" ? <span class="quiet">{sumsText(step.result, step.lanes)}</span> : null}
          </td>
        </tr>
      </tbody>
    </table>
  );
}

/** A text whose part that differs from another's is marked. */
function Differing({ text, other, mark }: { text: string; other: string; mark: boolean }) {
  if (!mark) return <>{text}</>;
  let start = 0;
  while (start < text.length && text[start] === other[start]) start += 1;
  let end = 0;
  while (end < text.length - start && end < other.length - start && text.at(-1 - end) === other.at(-1 - end)) end += 1;
  return (
    <>
      {text.slice(0, start)}
      <mark>{text.slice(start, text.length - end)}</mark>
      {text.slice(text.length - end)}
    </>
  );
}

function One({ step, number, open }: { step: Step; number: number; open: boolean }) {
  return (
    <li class={step.ok ? "step" : "step failed"} id={step.ok ? undefined : "failed-step"}>
      <details open={open || !step.ok}>
        <summary>
          <span class="step-number">{number}</span>
          <span class="step-mark" aria-hidden="true">{step.ok ? "✓" : "✗"}</span>
          <span class="step-name">
            {step.name}
            <span class="hidden">{step.ok ? ", holds" : ", does not hold"}</span>
          </span>
          <code class="step-value">{step.result === null ? step.value.slice(0, 80) : hex(step.result.subarray(0, 32))}</code>
        </summary>
        <div class="step-inside">
          <p class={step.ok ? "quiet" : "step-why"}>{explain(step)}</p>
          <p class="small"><code class="digits">{step.rule}</code></p>
          {step.how === "form" ? <p class="small"><code class="digits">{step.value}</code></p> : <Inside step={step} />}
        </div>
      </details>
    </li>
  );
}

export function Steps({ steps }: { steps: Step[] }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <div class="row">
        <button type="button" aria-pressed={open} onClick={() => setOpen(!open)}>{open ? "Close all steps" : "Open all steps"}</button>
        <span class="quiet small">Each can be opened: what was hashed, with which tag, and what came out.</span>
      </div>
      <ol class="steps">
        {steps.map((step, at) => <One step={step} number={at + 1} open={open} key={`${at} ${step.name}`} />)}
      </ol>
    </>
  );
}
