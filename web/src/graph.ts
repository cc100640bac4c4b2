// Where the pipeline's parts stand: layers from left to right by lineage, neighbours close to each other.
import type { PipelineNode } from "./types";

export interface Placed {
  node: PipelineNode;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Edge {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
  touched: boolean;
}

const WIDTH = 176;
const HEIGHT = 62;
const GAP = 12;
const LEAST_GAP = 36;
const SWEEPS = 6;

interface Given {
  from: string;
  to: string;
}

export function arranged(nodes: readonly PipelineNode[], given: readonly Given[], room: number): { nodes: Placed[]; edges: Edge[]; width: number; height: number } {
  const known = new Map(nodes.map((node) => [node.id, node]));
  const edges = given.filter((edge) => known.has(edge.from) && known.has(edge.to) && edge.from !== edge.to);
  const layers = layered(nodes);
  order(layers, edges);
  const widest = Math.max(...layers.map((layer) => layer.length), 1);
  const height = widest * (HEIGHT + GAP) - GAP;
  const step = layers.length > 1 ? Math.max(WIDTH + LEAST_GAP, (room - WIDTH - 2) / (layers.length - 1)) : 0;
  const spread = Math.min(step, WIDTH + 120);
  const placed = new Map<string, Placed>();
  layers.forEach((layer, i) => {
    const top = (height - (layer.length * (HEIGHT + GAP) - GAP)) / 2;
    layer.forEach((node, j) => placed.set(node.id, { node, x: i * spread, y: top + j * (HEIGHT + GAP), width: WIDTH, height: HEIGHT }));
  });
  return {
    nodes: [...placed.values()],
    edges: edges.map((edge) => line(placed.get(edge.from)!, placed.get(edge.to)!)),
    width: (layers.length - 1) * spread + WIDTH + 2,
    height,
  };
}

function line(from: Placed, to: Placed): Edge {
  const marks = from.node.marks;
  const bad = marks.changed.length + marks.worse.length + marks.touched.length > 0;
  return {
    x0: from.x + from.width,
    y0: from.y + from.height / 2,
    x1: to.x,
    y1: to.y + to.height / 2,
    touched: bad && to.node.marks.touched.length > 0,
  };
}

function layered(nodes: readonly PipelineNode[]): PipelineNode[][] {
  const numbers = [...new Set(nodes.map((node) => node.layer))].sort((a, b) => a - b);
  return numbers.map((number) => nodes.filter((node) => node.layer === number));
}

/** Sweep over the layers, each node to the middle of its neighbours in the layer before. */
function order(layers: PipelineNode[][], edges: readonly Given[]): void {
  const near = new Map<string, string[]>();
  for (const { from, to } of edges) {
    near.set(from, [...(near.get(from) ?? []), to]);
    near.set(to, [...(near.get(to) ?? []), from]);
  }
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const at = new Map<string, number>();
    layers.forEach((layer) => layer.forEach((node, i) => at.set(node.id, (i + 0.5) / layer.length)));
    const across = sweep % 2 === 0 ? layers : [...layers].reverse();
    for (const layer of across) {
      const middle = new Map(layer.map((node) => [node.id, mean((near.get(node.id) ?? []).map((id) => at.get(id)!)) ?? at.get(node.id)!]));
      layer.sort((a, b) => middle.get(a.id)! - middle.get(b.id)!);
      layer.forEach((node, i) => at.set(node.id, (i + 0.5) / layer.length));
    }
  }
}

function mean(values: readonly number[]): number | null {
  return values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;
}
