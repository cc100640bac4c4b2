// Where the pipeline's parts stand: layers from left to right by lineage, neighbours close to each other, and long edges
// through gaps that are left for them.
import type { PipelineNode } from "./types";

export interface Placed {
  node: PipelineNode;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Edge {
  path: string;
  touched: boolean;
}

/** What takes room in a layer: a part, or, without one, an edge that passes. */
interface Spot {
  id: string;
  node: PipelineNode | null;
  y: number;
}

interface Given {
  from: string;
  to: string;
}

const HEIGHT = 62;
const PASSING = 14;
const GAP = 12;
const [LEAST, MOST] = [128, 184]; // pixels of a part's width
const [LEAST_BETWEEN, MOST_BETWEEN] = [26, 120];
const SWEEPS = 8;

export function arranged(nodes: readonly PipelineNode[], given: readonly Given[], room: number): { nodes: Placed[]; edges: Edge[]; width: number; height: number } {
  const layers = layered(nodes);
  const at = new Map(layers.flatMap((layer, i) => layer.map((spot) => [spot.id, i] as const)));
  const known = new Map(nodes.map((node) => [node.id, node]));
  const chains = given
    .filter((edge) => known.has(edge.from) && known.has(edge.to) && edge.from !== edge.to)
    .map((edge, number) => chain(edge, number, layers, at));
  order(layers, chains);

  const n = Math.max(layers.length, 1);
  const width = Math.min(Math.max((room - (n - 1) * LEAST_BETWEEN - 2) / n, LEAST), MOST);
  const between = n > 1 ? Math.min(Math.max((room - n * width - 2) / (n - 1), LEAST_BETWEEN), MOST_BETWEEN) : 0;
  const height = Math.max(...layers.map(tall), HEIGHT);
  const placed = new Map<string, { x: number; spot: Spot }>();
  layers.forEach((layer, i) => {
    let y = (height - tall(layer)) / 2;
    for (const spot of layer) {
      spot.y = y + size(spot) / 2;
      y += size(spot) + GAP;
      placed.set(spot.id, { x: i * (width + between), spot });
    }
  });
  return {
    nodes: [...placed.values()].flatMap(({ x, spot }) => (spot.node ? [{ node: spot.node, x, y: spot.y - HEIGHT / 2, width, height: HEIGHT }] : [])),
    edges: chains.map((ids) => ({ path: line(ids.map((id) => placed.get(id)!), width), touched: carries(known.get(ids[0]!)!, known.get(ids[ids.length - 1]!)!) })),
    width: n * width + (n - 1) * between + 2,
    height,
  };
}

const size = (spot: Spot): number => (spot.node ? HEIGHT : PASSING);
const tall = (layer: readonly Spot[]): number => layer.reduce((sum, spot) => sum + size(spot) + GAP, -GAP);

function layered(nodes: readonly PipelineNode[]): Spot[][] {
  const columns = [...new Set(nodes.map((node) => node.x))].sort((a, b) => a - b);
  const spots = (x: number): PipelineNode[] => nodes.filter((node) => node.x === x).sort((a, b) => a.y - b.y);
  return columns.map((x) => spots(x).map((node) => ({ id: node.id, node, y: 0 })));
}

/** The spots that an edge goes through, from its start to its end; in the layers between it gets spots of its own. */
function chain({ from, to }: Given, number: number, layers: Spot[][], at: Map<string, number>): string[] {
  const [first, last] = [at.get(from)!, at.get(to)!];
  const step = first < last ? 1 : -1;
  const ids = [from];
  for (let i = first + step; step * i < step * last; i += step) {
    const id = `passing:${number}:${i}`;
    layers[i]!.push({ id, node: null, y: 0 });
    ids.push(id);
  }
  return first === last ? [from, to] : [...ids, to];
}

/** Sweep over the layers, each spot to the middle of its neighbours. */
function order(layers: Spot[][], chains: readonly string[][]): void {
  const near = new Map<string, string[]>();
  for (const ids of chains) {
    ids.slice(1).forEach((to, i) => {
      const from = ids[i]!;
      near.set(from, [...(near.get(from) ?? []), to]);
      near.set(to, [...(near.get(to) ?? []), from]);
    });
  }
  const at = new Map<string, number>();
  const note = (layer: readonly Spot[]): void => layer.forEach((spot, i) => at.set(spot.id, (i + 0.5) / layer.length));
  layers.forEach(note);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (const layer of sweep % 2 === 0 ? layers : [...layers].reverse()) {
      const middle = new Map(layer.map((spot) => [spot.id, mean((near.get(spot.id) ?? []).map((id) => at.get(id)!)) ?? at.get(spot.id)!]));
      layer.sort((a, b) => middle.get(a.id)! - middle.get(b.id)!);
      note(layer);
    }
  }
}

function mean(values: readonly number[]): number | null {
  return values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;
}

function line(through: readonly { x: number; spot: Spot }[], width: number): string {
  const backward = through[0]!.x > through[through.length - 1]!.x;
  const [out, into] = backward ? [0, width] : [width, 0];
  let path = `M${through[0]!.x + out} ${through[0]!.spot.y}`;
  through.slice(1).forEach(({ x, spot }, i) => {
    const from = through[i]!;
    const [x0, x1] = [from.x + out, x + into];
    const middle = (x0 + x1) / 2;
    path += `C${middle} ${from.spot.y} ${middle} ${spot.y} ${x1} ${spot.y}`;
    if (!spot.node) path += `H${x + out}`;
  });
  return path;
}

/** Whether what is wrong at the start reaches the end. */
function carries(from: PipelineNode, to: PipelineNode): boolean {
  return from.marks.changed.length + from.marks.worse.length + from.marks.touched.length > 0 && to.marks.touched.length > 0;
}
