/** The matrix of an epoch as a heat map, with what stands out in tables beside it. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { to } from "../app/router.ts";
import type { MemberRow, Matrix, NodeInEpoch } from "../data/types.ts";
import { count, percent, plural, shortHex } from "../ui/format.ts";
import { DataTable } from "../ui/table.tsx";
import { Hex, NameLink, Weight } from "../ui/values.tsx";
import { type Cell, cellAt, drawHeat, type View } from "./heat_drawing.ts";

const WINDOW = 200;
const LISTED_MAX = 5000;

interface Odd extends Cell {
  weight: bigint | null;
}

interface Props {
  epoch: number;
  matrix: Matrix;
  nodes: NodeInEpoch[];
  members: MemberRow[];
}

/** Cells that are outliers, and missing ones of members whose row is there. */
function oddCells({ matrix, members }: Props): Odd[] {
  const found: Odd[] = [];
  for (let member = 0; member < matrix.members.length; member += 1) {
    if (members.find((row) => row.member === matrix.members[member])?.present === false) continue;
    for (let node = 0; node < matrix.nodes; node += 1) {
      const weight = matrix.weight(member, node);
      if (weight === null || matrix.outlier(member, node)) found.push({ member, node, weight });
      if (found.length >= LISTED_MAX) return found;
    }
  }
  return found;
}

function byWeight(matrix: Matrix, nodes: NodeInEpoch[]): Uint32Array {
  const weight = Array.from({ length: matrix.nodes }, (_, i) => Number(nodes[i]?.weight ?? -1n));
  return Uint32Array.from(weight.keys()).sort((a, b) => (weight[b] ?? 0) - (weight[a] ?? 0));
}

export function HeatMap(props: Props) {
  const { matrix, nodes } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const [ranked, setRanked] = useState(true);
  const [from, setFrom] = useState<number | null>(null);
  const [cell, setCell] = useState<Cell | null>(null);
  const order = useMemo(() => (ranked ? byWeight(matrix, nodes) : Uint32Array.from({ length: matrix.nodes }, (_, i) => i)), [matrix, nodes, ranked]);
  const top = useMemo(() => nodes.reduce((most, { weight }) => (weight !== null && weight > most ? weight : most), 0n), [nodes]);
  const odd = useMemo(() => oddCells(props), [matrix, props.members]);
  const view: View = from === null ? { order, from: 0, to: matrix.nodes } : { order, from, to: Math.min(matrix.nodes, from + WINDOW) };
  useDrawing(canvas, matrix, view, top);
  const move = (event: PointerEvent) => {
    if (canvas.current !== null) setCell(cellAt(canvas.current, matrix, view, event.offsetX, event.offsetY));
  };
  const outliers = odd.filter(({ weight }) => weight !== null).length;
  const absent = props.members.filter(({ present }) => !present).length;
  const label = `Heat map of weights: ${plural(matrix.members.length, "evaluator")} by ${plural(matrix.nodes, "node")}; ${plural(outliers, "outlier")}, ${plural(absent, "missing row")}. The tables below say the same.`;
  return (
    <figure class="heat">
      <div class="table-tools">
        <label>
          Nodes in order of
          <select value={ranked ? "weight" : "epoch"} onChange={(event) => setRanked(event.currentTarget.value === "weight")}>
            <option value="weight">weight, largest first</option>
            <option value="epoch">node key, as in the block</option>
          </select>
        </label>
        {matrix.nodes <= WINDOW ? null : <Zoom from={from} nodes={matrix.nodes} set={setFrom} />}
      </div>
      <div class="heat-body">
        <div class="heat-names" aria-hidden="true">
          {matrix.members.map((member) => <span title={member}>{shortHex(member)}</span>)}
        </div>
        <canvas ref={canvas} role="img" aria-label={label} onPointerMove={move} onPointerDown={move} onPointerLeave={() => setCell(null)} />
      </div>
      <p class="heat-read">{cell === null ? <span class="quiet">Point at the map to read a weight.</span> : <Reading {...props} cell={cell} />}</p>
      <ul class="legend">
        <li><span class="swatch swatch-heat" /> weight, from 0 to <Weight weight={top} /></li>
        <li><span class="swatch swatch-outlier" /> outlier: far from the other evaluators</li>
        <li><span class="swatch swatch-missing" /> missing: no row, or no word about the node</li>
      </ul>
      <details class="gap-top">
        <summary>The same as tables: rows of evaluators, and every cell that stands out</summary>
        <RowsTable {...props} />
        <OddTable {...props} odd={odd} />
      </details>
    </figure>
  );
}

function useDrawing(canvas: { current: HTMLCanvasElement | null }, matrix: Matrix, view: View, top: bigint): void {
  useEffect(() => {
    const target = canvas.current;
    if (target === null) return;
    const draw = () => drawHeat(target, matrix, view, top);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const resized = new ResizeObserver(draw);
    target.style.height = `${matrix.members.length * 26}px`;
    resized.observe(target);
    dark.addEventListener("change", draw);
    return () => {
      resized.disconnect();
      dark.removeEventListener("change", draw);
    };
  }, [matrix, view.order, view.from, view.to, top]);
}

function Zoom({ from, nodes, set }: { from: number | null; nodes: number; set: (from: number | null) => void }) {
  if (from === null) return <button type="button" onClick={() => set(0)}>Look closer, {WINDOW} nodes at a time</button>;
  return (
    <span class="row">
      <button type="button" disabled={from === 0} onClick={() => set(Math.max(0, from - WINDOW))}>Before</button>
      <span class="small" role="status">{count(from + 1)}–{count(Math.min(nodes, from + WINDOW))} of {count(nodes)}</span>
      <button type="button" disabled={from + WINDOW >= nodes} onClick={() => set(from + WINDOW)}>After</button>
      <button type="button" onClick={() => set(null)}>All nodes</button>
    </span>
  );
}

function Reading({ matrix, nodes, cell }: Props & { cell: Cell }) {
  const node = nodes[cell.node];
  const weight = matrix.weight(cell.member, cell.node);
  const decided = node?.weight ?? null;
  return (
    <>
      <strong>{node?.id ?? `node ${cell.node}`}</strong>, evaluator <code>{shortHex(matrix.members[cell.member] ?? "")}</code>:{" "}
      {weight === null ? "no weight" : `weight ${count(weight)}`}
      {decided === null ? "; nothing is decided" : `; decided is ${count(decided)}`}
      {matrix.outlier(cell.member, cell.node) ? " – outlier" : ""}
    </>
  );
}

function RowsTable({ members }: Props) {
  return (
    <DataTable
      caption="Rows of the block, one for each evaluator"
      rows={members}
      empty="No evaluator had a seat."
      columns={[
        { name: "Evaluator", cell: ({ member }) => <Hex value={member} what="the evaluator's address" href={to.evaluator(member)} />, order: ({ member }) => member },
        { name: "Row", cell: ({ present }) => (present ? "in the block" : "missing"), order: ({ present }) => (present ? 1 : 0) },
        { name: "Agreement", number: true, cell: ({ present, agreementPpm }) => (present ? percent(agreementPpm) : "–"), order: ({ agreementPpm }) => agreementPpm },
        { name: "Outliers", number: true, cell: ({ present, outliers }) => (present ? count(outliers) : "–"), order: ({ outliers }) => outliers },
      ]}
    />
  );
}

function OddTable({ epoch, matrix, nodes, odd }: Props & { odd: Odd[] }) {
  return (
    <DataTable
      caption={odd.length < LISTED_MAX ? "Cells that stand out" : `The first ${count(LISTED_MAX)} cells that stand out`}
      rows={odd}
      text={({ node, member }) => `${nodes[node]?.id} ${matrix.members[member]}`}
      filterLabel="Node or evaluator"
      empty="Nothing stands out: every evaluator whose row is there speaks about every node, and none is far from the others."
      columns={[
        { name: "Node", cell: ({ node }) => { const found = nodes[node]; return found === undefined ? node : <NameLink name={found.id} href={to.node(found.key, epoch)} />; }, order: ({ node }) => nodes[node]?.id ?? "" },
        { name: "Evaluator", cell: ({ member }) => <code title={matrix.members[member]}>{shortHex(matrix.members[member] ?? "")}</code>, order: ({ member }) => member },
        { name: "Its weight", number: true, cell: ({ weight }) => (weight === null ? "missing" : <Weight weight={weight} />), order: ({ weight }) => weight },
        { name: "Decided", number: true, cell: ({ node }) => { const decided = nodes[node]?.weight; return decided === null || decided === undefined ? "–" : <Weight weight={decided} />; }, order: ({ node }) => nodes[node]?.weight ?? null },
      ]}
    />
  );
}
