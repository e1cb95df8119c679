/** A plot over epochs, drawn by uPlot, with the same figures as a table beside it. */

import { useEffect, useRef } from "preact/hooks";
import type uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import { whenIdle } from "../app/idle.ts";
import { DataTable } from "../ui/table.tsx";

export interface Series {
  name: string;
  values: (number | null)[];
  /** As text, in the table and the legend. */
  text: (value: number) => string;
  kind?: "line" | "bars";
}

interface Props {
  title: string;
  note?: string;
  epochs: number[];
  series: Series[];
  /** Of the axis; by default numbers are grouped. */
  axis?: (value: number) => string;
  /** Where the axis ends, for shares: [0, 100]. */
  range?: [number, number];
}

const COLOURS = ["--series-1", "--series-2", "--series-3"];
const HEIGHT = 240;
const BAR_WIDTH = 0.7;
const BAR_MAX = 40;

function options(library: typeof uPlot, { epochs, series, axis, range }: Props, width: number): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const lines = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
  const beside = series.some(({ kind }) => kind === "bars") || epochs.length === 1 ? BAR_WIDTH : 0;
  return {
    width,
    height: HEIGHT,
    scales: { x: { time: false, range: [(epochs[0] ?? 0) - beside, (epochs.at(-1) ?? 0) + beside] }, y: { range: range ?? ((_, __, max) => [0, max > 0 ? max * 1.08 : 1]) } },
    axes: [
      { ...lines, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000], values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? String(tick) : "")) },
      { ...lines, size: 62, values: (_, ticks) => ticks.map(axis ?? compact) },
    ],
    series: [
      { label: "Epoch", value: (_, value: number | null) => (value === null ? "–" : String(value)) },
      ...series.map(({ name, text, kind }, i): uPlot.Series => {
        const stroke = colour(COLOURS[i] ?? "--text");
        const bars = kind === "bars" && library.paths.bars ? { paths: library.paths.bars({ size: [BAR_WIDTH, BAR_MAX] }), fill: `${stroke}b3`, width: 0 } : { width: 2 };
        return { label: name, stroke, ...bars, points: { show: kind !== "bars" && epochs.length < 3 }, value: (_, value: number | null) => (value === null ? "–" : text(value)) };
      }),
    ],
    cursor: { y: false, points: { size: 7 } },
    legend: { live: true },
  };
}

/** `1.2k`, `3.4M`: for axes only. */
function compact(value: number): string {
  return new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 }).format(value);
}

export function Plot(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const { epochs, series, title } = props;
  useEffect(() => {
    const target = box.current;
    if (target === null) return;
    let plot: uPlot | null = null;
    let gone = false;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const draw = async () => {
      const { default: library } = await import("uplot");
      if (gone) return;
      plot?.destroy();
      plot = new library(options(library, props, target.clientWidth), [epochs, ...series.map(({ values }) => values)], target);
    };
    const resized = new ResizeObserver(() => plot?.setSize({ width: target.clientWidth, height: HEIGHT }));
    const cancel = whenIdle(() => void draw());
    resized.observe(target);
    dark.addEventListener("change", draw);
    return () => {
      gone = true;
      cancel();
      resized.disconnect();
      dark.removeEventListener("change", draw);
      plot?.destroy();
    };
  }, [epochs, JSON.stringify(series.map(({ values }) => values))]);
  return (
    <figure class="chart">
      <figcaption>
        {title}
        {props.note === undefined ? null : <small>{props.note}</small>}
      </figcaption>
      <div class="plot" ref={box} role="img" aria-label={`${title}. The same figures are in the table below the plot.`} />
      <details>
        <summary>The same as a table</summary>
        <FiguresTable {...props} />
      </details>
    </figure>
  );
}

function FiguresTable({ title, epochs, series }: Props) {
  const rows = epochs.map((epoch, i) => ({ epoch, i }));
  return (
    <DataTable
      caption={title}
      rows={rows}
      first={{ name: "Epoch", down: true }}
      empty="Nothing has happened yet."
      columns={[
        { name: "Epoch", cell: ({ epoch }) => epoch, order: ({ epoch }) => epoch },
        ...series.map(({ name, values, text }) => ({
          name,
          number: true,
          cell: ({ i }: { i: number }) => (values[i] === null || values[i] === undefined ? "–" : text(values[i])),
          order: ({ i }: { i: number }) => values[i] ?? null,
        })),
      ]}
    />
  );
}
