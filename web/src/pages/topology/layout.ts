// Where everything is drawn: a row under the other in each site, indented by what it stands behind, and the sites beside and below each other.

import type { Model, Row } from './model';

/** Measures of the drawing, in its own units. */
export const ROW = 30;
export const INDENT = 26;
export const CARD = 236;
export const HEAD = 36;
const PAD = 12;
const GAP = 24;

/** A row with its place. */
export type Placed = { row: Row; x: number; y: number };

/** A line from a parent to what stands behind it. */
export type Line = { id: string; from: string; to: string; path: string; isOther: boolean };

/** A site with its place. */
export type Box = { site: string; x: number; y: number; width: number; height: number; rows: Placed[] };

/** The whole drawing. */
export type Drawing = { boxes: Box[]; lines: Line[]; width: number; height: number };

/** Lays out sites so that the drawing has about the shape of the place it is shown in (`ratio`: width by height). */
export function layout(model: Model, sites: { site: string; rows: Row[] }[], ratio: number): Drawing {
  const boxes = sites.map(({ site, rows }) => boxOf(site, rows));
  const columns = columnsFor(boxes, ratio);
  let [width, height] = [0, 0];
  let left = 0;
  for (const column of columns) {
    let top = 0;
    const wide = Math.max(0, ...column.map((box) => box.width));
    for (const box of column) {
      move(box, left, top);
      box.width = wide;
      top += box.height + GAP;
    }
    left += wide + GAP;
    [width, height] = [left - GAP, Math.max(height, top - GAP)];
  }
  return { boxes, lines: linesOf(model, boxes), width: Math.max(0, width), height: Math.max(0, height) };
}

function boxOf(site: string, rows: Row[]): Box {
  const deepest = Math.max(0, ...rows.map((row) => row.depth));
  const placed = rows.map((row, number) => ({ row, x: PAD + row.depth * INDENT, y: HEAD + number * ROW }));
  return { site, x: 0, y: 0, width: PAD * 2 + deepest * INDENT + CARD, height: HEAD + rows.length * ROW + PAD / 2, rows: placed };
}

function move(box: Box, x: number, y: number): void {
  [box.x, box.y] = [x, y];
  for (const placed of box.rows) {
    placed.x += x;
    placed.y += y;
  }
}

/** Tries one column, two, three … and takes the number with which everything is largest in the place. Sites stay in order. */
function columnsFor(boxes: Box[], ratio: number): Box[][] {
  let best: { columns: Box[][]; scale: number } = { columns: boxes.length > 0 ? [boxes] : [], scale: 0 };
  const all = boxes.reduce((sum, box) => sum + box.height + GAP, 0);
  for (let number = 1; number <= Math.min(boxes.length, 12); number++) {
    const columns: Box[][] = [[]];
    let filled = 0;
    for (const box of boxes) {
      const last = columns[columns.length - 1] ?? [];
      if (last.length > 0 && columns.length < number && filled + box.height / 2 > all / number) {
        columns.push([box]);
        filled = box.height + GAP;
      } else {
        last.push(box);
        filled += box.height + GAP;
      }
    }
    const width = columns.reduce((sum, column) => sum + Math.max(...column.map((box) => box.width)) + GAP, 0);
    const height = Math.max(...columns.map((column) => column.reduce((sum, box) => sum + box.height + GAP, 0)));
    const scale = Math.min(ratio / width, 1 / height);
    if (scale > best.scale) best = { columns, scale };
  }
  return best.columns;
}

function linesOf(model: Model, boxes: Box[]): Line[] {
  const at = new Map<string, Placed>();
  for (const box of boxes) for (const placed of box.rows) at.set(placed.row.id, placed);
  const lines: Line[] = [];
  for (const placed of at.values()) {
    const parents = placed.row.kind === 'bundle' ? [placed.row.of] : placed.row.place.parents;
    const own = placed.row.kind === 'bundle' ? placed.row.of : placed.row.place.behind;
    for (const parent of parents) {
      const from = at.get(parent);
      if (!from || (placed.row.kind === 'device' && !model.places.has(parent))) continue;
      const isOther = parent !== own;
      lines.push({ id: `${parent}-${placed.row.id}`, from: parent, to: placed.row.id, path: isOther ? arc(from, placed) : elbow(from, placed), isOther });
    }
  }
  return lines;
}

/** Down from the parent, and round a corner to what stands behind it. */
function elbow(from: Placed, to: Placed): string {
  const [x, y] = [from.x + 13, from.y + ROW - 4];
  const [endX, endY] = [to.x, to.y + ROW / 2 - 1];
  return `M${x} ${y}V${endY - 6}q0 6 6 6H${endX}`;
}

/** Another way: a bow on the right side, or between sites. */
function arc(from: Placed, to: Placed): string {
  const [x, y] = [from.x + CARD, from.y + ROW / 2 - 1];
  const same = Math.abs(from.x - to.x) < CARD;
  const [endX, endY] = [same || to.x < from.x ? to.x + CARD : to.x, to.y + ROW / 2 - 1];
  const bow = Math.min(60, 18 + Math.abs(endY - y) / 12);
  const back = endX === to.x ? endX - bow : endX + bow;
  return `M${x} ${y}C${x + bow} ${y} ${back} ${endY} ${endX} ${endY}`;
}

/** Where one comes to by a key from this row; undefined: nowhere. */
export function step(boxes: Box[], id: string | undefined, key: 'up' | 'down' | 'left' | 'right' | 'first' | 'last'): string | undefined {
  const rows = boxes.flatMap((box) => box.rows.map((placed) => placed.row));
  const number = rows.findIndex((row) => row.id === id);
  if (number < 0) return rows[0]?.id;
  const row = rows[number];
  switch (key) {
    case 'up':
      return rows[number - 1]?.id;
    case 'down':
      return rows[number + 1]?.id;
    case 'first':
      return rows[0]?.id;
    case 'last':
      return rows[rows.length - 1]?.id;
    case 'left':
      return row?.kind === 'bundle' ? row.of : row?.place.behind;
    case 'right':
      return rows[number + 1]?.depth === (row?.depth ?? 0) + 1 ? rows[number + 1]?.id : undefined;
  }
}

/** What is looked at: the drawing's own units at the upper left corner, and how large they are. */
export type Eye = { x: number; y: number; scale: number };

/** Sees everything, not larger than it is drawn. */
export function seeAll(drawing: Drawing, width: number, height: number): Eye {
  const margin = 16;
  const scale = Math.min(1, (width - 2 * margin) / Math.max(1, drawing.width), (height - 2 * margin) / Math.max(1, drawing.height));
  const held = Math.max(LEAST, scale);
  return { scale: held, x: Math.max(margin, (width - drawing.width * held) / 2), y: margin };
}

export const LEAST = 0.15;
export const MOST = 2.5;

/** Larger or smaller, with the point (in pixels) staying where it is. */
export function zoom(eye: Eye, by: number, x: number, y: number): Eye {
  const scale = Math.min(MOST, Math.max(LEAST, eye.scale * by));
  const real = scale / eye.scale;
  return { scale, x: x - (x - eye.x) * real, y: y - (y - eye.y) * real };
}

/** Moves so that a row is seen. */
export function follow(eye: Eye, placed: Placed, width: number, height: number): Eye {
  const edge = 24;
  const [x, y] = [placed.x * eye.scale + eye.x, placed.y * eye.scale + eye.y];
  const into = (at: number, size: number, room: number): number => {
    if (at < edge || size > room - 2 * edge) return edge - at;
    return Math.min(0, room - edge - at - size);
  };
  return { scale: eye.scale, x: eye.x + into(x, CARD * eye.scale, width), y: eye.y + into(y, ROW * eye.scale, height) };
}
