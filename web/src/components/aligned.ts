/** Points of several series beside each other, with a gap where nothing was measured: a line must not bridge what nobody saw. */
import type { Point } from '@/api/types';

export type Columns = [times: number[], ...values: (number | null)[][]];

/** Seconds without a point that make a gap: three times the usual distance. */
export function gapOf(series: readonly { points: readonly Point[] }[], from: number, to: number): number {
  const distances: number[] = [];
  for (const { points } of series) {
    for (let index = 1; index < points.length; index++) {
      const [before, after] = [points[index - 1], points[index]];
      if (before && after) distances.push(after.at - before.at);
    }
  }
  if (distances.length === 0) return to - from;
  distances.sort((a, b) => a - b);
  const usual = distances[Math.floor(distances.length / 2)] ?? to - from;
  return Math.max(usual * 3, 1);
}

export function aligned(series: readonly { points: readonly Point[] }[], gap: number): Columns {
  const values = series.map(({ points }) => {
    const at = new Map<number, number | null>();
    let before: Point | undefined;
    for (const point of points) {
      if (before && point.at - before.at > gap) at.set(before.at + 1, null);
      at.set(point.at, point.avg);
      before = point;
    }
    return at;
  });
  const times = [...new Set(values.flatMap((column) => [...column.keys()]))].sort((a, b) => a - b);
  return [times, ...values.map((column) => times.map((time) => column.get(time) as number | null))];
}
