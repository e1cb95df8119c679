/** How a matrix becomes pixels: one row for each evaluator, one column for each node or group of nodes. */

import type { Matrix } from "../data/types.ts";

export const ROW_HEIGHT = 26;
const GAP = 4;
const MARK = 3;
/** Of a row's height: the mark of an outlier in a column that stands for several nodes, from the top. */
const PART = 0.4;

/** Which nodes the picture shows, in their order from left to right. */
export interface View {
  order: Uint32Array;
  from: number;
  to: number;
}

export interface Cell {
  member: number;
  node: number;
}

interface Colours {
  low: [number, number, number];
  high: [number, number, number];
  missing: string;
  outlier: string;
  ground: string;
}

function rgb(text: string): [number, number, number] {
  const value = Number.parseInt(text.trim().slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

export function coloursOf(element: Element): Colours {
  const style = getComputedStyle(element);
  const get = (name: string) => style.getPropertyValue(name).trim();
  return { low: rgb(get("--heat-0")), high: rgb(get("--heat-1")), missing: get("--heat-missing"), outlier: get("--heat-outlier"), ground: get("--raised") };
}

function shade({ low, high }: Colours, part: number): string {
  const mix = low.map((value, i) => Math.round(value + ((high[i] ?? value) - value) * part));
  return `rgb(${mix.join(" ")})`;
}

function hatching(context: CanvasRenderingContext2D, colours: Colours): CanvasPattern | string {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const pen = tile.getContext("2d");
  if (pen === null) return colours.missing;
  pen.fillStyle = colours.ground;
  pen.fillRect(0, 0, 6, 6);
  pen.strokeStyle = colours.missing;
  pen.lineWidth = 2;
  for (const shift of [-6, 0, 6]) {
    pen.beginPath();
    pen.moveTo(shift, 6);
    pen.lineTo(shift + 6, 0);
    pen.stroke();
  }
  return context.createPattern(tile, "repeat") ?? colours.missing;
}

/** The nodes of a column of the picture. */
export function nodesAt(view: View, column: number, columns: number): [number, number] {
  const wide = view.to - view.from;
  const start = view.from + Math.floor((column * wide) / columns);
  const end = view.from + Math.floor(((column + 1) * wide) / columns);
  return [start, Math.max(end, start + 1)];
}

/**
 * Draw the matrix. Where a column stands for several nodes, an outlier among them marks it, and so does a missing
 * weight: rare things stay visible.
 */
export function drawHeat(canvas: HTMLCanvasElement, matrix: Matrix, view: View, top: bigint): void {
  const context = canvas.getContext("2d");
  if (context === null) return;
  const dense = Math.min(2, devicePixelRatio || 1);
  const width = Math.max(1, Math.round(canvas.clientWidth * dense));
  canvas.width = width;
  canvas.height = Math.round(matrix.members.length * ROW_HEIGHT * dense);
  const colours = coloursOf(canvas);
  const missing = hatching(context, colours);
  const columns = Math.min(width, view.to - view.from);
  const height = (ROW_HEIGHT - GAP) * dense;
  const scale = Math.sqrt(Number(top) || 1);
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (let member = 0; member < matrix.members.length; member += 1) {
    const y = (member * ROW_HEIGHT + GAP / 2) * dense;
    for (let column = 0; column < columns; column += 1) {
      const [start, end] = nodesAt(view, column, columns);
      const x = Math.floor((column * width) / columns);
      const wide = Math.floor(((column + 1) * width) / columns) - x;
      const { sum, seen, outlier } = bin(matrix, view, member, start, end);
      context.fillStyle = seen === 0 ? missing : shade(colours, Math.min(1, Math.sqrt(sum / seen) / scale));
      context.fillRect(x, y, wide, height);
      if (seen > 0 && seen < end - start) {
        context.fillStyle = missing;
        context.fillRect(x, y + height * (1 - PART), Math.max(wide, MARK), height * PART);
      }
      if (!outlier) continue;
      context.fillStyle = colours.outlier;
      context.fillRect(Math.max(0, x - (wide < MARK ? 1 : 0)), y, Math.max(wide, MARK), end - start === 1 ? height : height * PART);
    }
  }
}

function bin(matrix: Matrix, view: View, member: number, start: number, end: number): { sum: number; seen: number; outlier: boolean } {
  let sum = 0;
  let seen = 0;
  let outlier = false;
  for (let at = start; at < end; at += 1) {
    const node = view.order[at] ?? 0;
    const weight = matrix.weight(member, node);
    if (weight === null) continue;
    sum += Number(weight);
    seen += 1;
    outlier ||= matrix.outlier(member, node);
  }
  return { sum, seen, outlier };
}

/** The cell under a point of the canvas, in CSS pixels. */
export function cellAt(canvas: HTMLCanvasElement, matrix: Matrix, view: View, x: number, y: number): Cell | null {
  const member = Math.floor(y / ROW_HEIGHT);
  const wide = view.to - view.from;
  const at = view.from + Math.floor((x / Math.max(1, canvas.clientWidth)) * wide);
  if (member < 0 || member >= matrix.members.length || at < view.from || at >= view.to) return null;
  return { member, node: view.order[at] ?? 0 };
}
