// From the server's option to the one that is drawn: its colours by the theme, our type, margins, axes and tooltip.
import { count, moment, onAxis, share } from "../format";
import type { ChartSpec } from "../types";
import { moments, scaleOf, tickWords } from "./ticks";
import { tooltip } from "./tooltip";

export type Option = Record<string, unknown>;
export type Series = Option & { id?: string; name?: string; type?: string; data?: unknown[]; color?: string };

export interface Drawing {
  /** Ids of bands and lines that are switched off; a prefix such as "interval" hides all that begins so. */
  hidden: readonly string[];
  /** What the time axis shows, so that charts beneath each other share it; milliseconds. */
  span: [number, number] | null;
  /** Small: without axes, for a table's cell. */
  small: boolean;
  /** Its size in pixels, and whether the times stand beneath it. */
  width: number;
  height: number;
  times: boolean;
}

const COLOURED = new Set(["color", "borderColor", "backgroundColor"]);
const MARGIN = { left: 60, right: 16, top: 12, bottom: 24 };

/** A colour by its name, as it is on the ground that is seen; a chart knows no variables. */
export function colour(name: string): string {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

const probe = document.createElement("span");
probe.hidden = true;

function painted(value: unknown, key = ""): unknown {
  if (Array.isArray(value)) return value.map((entry) => painted(entry, key));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, painted(entry, name)]));
  }
  if (typeof value === "string" && COLOURED.has(key) && value.startsWith("token:")) return colour(value.slice(6));
  return value;
}

export function seriesOf(option: Option): Series[] {
  const found = option["series"];
  return (Array.isArray(found) ? found : found ? [found] : []) as Series[];
}

export function isOverTime(option: Option): boolean {
  return axes(option["xAxis"]).some((axis) => axis["type"] === "time");
}

/** Whether its horizontal axis is of numbers, as of a curve through points. */
export function isOfNumbers(option: Option): boolean {
  return axes(option["xAxis"]).some((axis) => axis["type"] === "value");
}

function axes(axis: unknown): Option[] {
  return (Array.isArray(axis) ? axis : axis ? [axis] : []) as Option[];
}

function isHidden(series: Series, hidden: readonly string[]): boolean {
  const id = String(series.id ?? "");
  return hidden.some((name) => id === name || id.startsWith(`${name}:`));
}

export function drawn(spec: ChartSpec, drawing: Drawing): Option {
  const option = painted(spec.option) as Option;
  const overTime = isOverTime(option);
  const { legend: _, title: __, ...rest } = isHeat(option) && drawing.span ? filled(option, drawing.span) : option;
  const small = drawing.small;
  const parts = drawing.height < 120 ? 2 : 4;
  return {
    ...rest,
    animation: false,
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 11 },
    grid: axes(option["grid"]).length > 1 ? option["grid"] : { ...(small ? { left: 0, right: 0, top: 2, bottom: 2 } : grid(option, overTime)), ...(overTime && !drawing.times ? { bottom: 6 } : {}) },
    xAxis: axes(rest["xAxis"]).map((axis) => horizontal(axis, drawing, option)),
    yAxis: axes(option["yAxis"]).map((axis) => vertical(axis, spec.unit, small, parts, option)),
    series: seriesOf(rest)
      .filter((series) => !isHidden(series, drawing.hidden))
      .map((series) => plainly(series, small)),
    tooltip: small ? { show: false } : tooltip(spec, option),
    ...(option["visualMap"] ? { visualMap: hiddenMap(option["visualMap"]) } : {}),
  };
}

/** Charts over time have equal margins, so that their axes stand in line; others make room for their labels. */
function grid(option: Option, overTime: boolean): Option {
  if (overTime || isHeat(option)) return MARGIN;
  return { ...(axes(option["grid"])[0] ?? {}), left: 8, right: 16, top: 8, bottom: 4, containLabel: true };
}

export function isHeat(option: Option): boolean {
  return seriesOf(option).some((series) => series.id === "heat");
}

/** A heat map's columns from one end of the span to the other, so that they stand beneath the times above. */
function filled(option: Option, [from, to]: [number, number]): Option {
  const axis = axes(option["xAxis"])[0]!;
  const times = (axis["data"] ?? []) as number[];
  const step = times.length > 1 ? times[1]! - times[0]! : 0;
  if (!(step > 0)) return option;
  const before = Math.max(Math.round((times[0]! - from) / step), 0);
  const after = Math.max(Math.round((to - times[times.length - 1]!) / step) - 1, 0);
  if (before + after > 2_000) return option;
  const more = (start: number, n: number): number[] => Array.from({ length: n }, (_, i) => start + i * step);
  return {
    ...option,
    xAxis: { ...axis, data: [...more(times[0]! - before * step, before), ...times, ...more(times[times.length - 1]! + step, after)] },
    series: seriesOf(option).map((series) => ({ ...series, data: (series.data ?? []).map((cell) => (Array.isArray(cell) ? [Number(cell[0]) + before, ...cell.slice(1)] : cell)) })),
  };
}

/** The least and the largest of what is drawn, bands and stacks included. */
function extent(option: Option): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  const stacks = new Map<string, number[]>();
  for (const series of seriesOf(option)) {
    const stack = series["stack"] as string | undefined;
    const sums = stack ? (stacks.get(stack) ?? []) : null;
    (series.data ?? []).forEach((entry, i) => {
      const value = Array.isArray(entry) ? entry[1] : entry !== null && typeof entry === "object" ? ([] as unknown[]).concat((entry as { value?: unknown }).value).at(-1) : entry;
      if (typeof value !== "number") return;
      const at = sums ? (sums[i] = (sums[i] ?? 0) + value) : value;
      low = Math.min(low, at);
      high = Math.max(high, at);
    });
    if (stack && sums) stacks.set(stack, sums);
    if (series.type === "bar") low = Math.min(low, 0);
    for (const mark of ((series["markLine"] as Option | undefined)?.["data"] ?? []) as { yAxis?: unknown }[]) {
      if (typeof mark.yAxis === "number") [low, high] = [Math.min(low, mark.yAxis), Math.max(high, mark.yAxis)];
    }
  }
  return [low, high];
}

/** From when to when there are values, in milliseconds. */
export function timesOf(option: Option): [number, number] | null {
  let [from, to] = [Infinity, -Infinity];
  for (const series of seriesOf(option)) {
    for (const entry of series.data ?? []) {
      const at = Array.isArray(entry) ? entry[0] : undefined;
      if (typeof at === "number") [from, to] = [Math.min(from, at), Math.max(to, at)];
    }
  }
  return from < to ? [from, to] : null;
}

function horizontal(axis: Option, { span, small, width, times }: Drawing, option: Option): Option {
  const shared = { ...axis, ...(small ? { show: false } : {}), axisTick: { show: false }, nameTextStyle: { color: colour("muted") } };
  if (axis["type"] !== "time") return { ...shared, axisLabel: { ...labels(axis), hideOverlap: true, ...(isHeat(option) ? columnLabels(axis["data"] as number[], width) : {}) } };
  return {
    ...shared,
    ...(span ? { min: span[0], max: span[1] } : {}),
    axisPointer: { show: !small, type: "line", snap: true, label: { show: false }, lineStyle: { color: colour("muted"), type: "solid", width: 1 } },
    axisLabel: { ...labels(axis), show: times, hideOverlap: true, ...timeLabels(span ?? timesOf(option), width) },
    splitLine: { show: false },
  };
}

const NAMES = 120; // pixels for names beside a chart that makes room for them
const EACH = 84; // pixels that a moment's words take

function timeLabels(ends: [number, number] | null, width: number): Option {
  if (!ends) return {};
  const values = moments(ends[0], ends[1], Math.max(Math.floor(width / EACH), 2));
  return { customValues: values, formatter: (value: number) => tickWords(value, ends[1] - ends[0]) };
}

/** Each round moment at the column that holds it. */
function columnLabels(times: readonly number[], width: number): Option {
  const [from = 0, next = from] = times;
  const to = from + (next - from) * times.length - 1;
  const most = Math.min(Math.max(Math.floor(width / EACH), 2), times.length); // at most one in a column
  const round = moments(from, to, most);
  const told = new Map(round.map((at) => [times.filter((time) => time <= at).length - 1, tickWords(at, to - from)]));
  if (told.size === 0) told.set(0, moment(new Date(from)));
  return { interval: (index: number) => told.has(index), formatter: (_: unknown, index: number) => told.get(index) ?? "" };
}

function vertical(axis: Option, unit: string, small: boolean, parts: number, option: Option): Option {
  const shared = { ...axis, ...(small ? { show: false } : {}), axisTick: { show: false }, nameTextStyle: { color: colour("muted") } };
  if (axis["type"] === "category") return { ...shared, axisLabel: { ...labels(axis), width: isHeat(option) ? MARGIN.left - 12 : NAMES, overflow: "truncate" } };
  return {
    ...shared,
    splitNumber: parts === 2 ? 2 : 3,
    ...(axis["max"] === undefined || unit === "share" || unit === "ratio" ? scaleOf(...extent(option), unit, parts) : {}),
    axisLine: { show: false },
    axisLabel: { ...labels(axis), formatter: (value: number) => onAxis(value, unit), hideOverlap: true },
    splitLine: { lineStyle: { color: colour("grid") } },
  };
}

function labels(axis: Option): Option {
  return { ...((axis["axisLabel"] as Option) ?? {}), fontSize: 11, color: colour("muted") };
}

function plainly(series: Series, small: boolean): Series {
  if (series.id === "confusion") return { ...series, data: written(series.data ?? []) };
  const line = series.type === "line" && !String(series.id ?? "").match(/^(interval|expected)/);
  return {
    ...series,
    emphasis: { disabled: series.type !== "heatmap" },
    ...(series["markLine"] ? { markLine: limits(series["markLine"] as Option, small) } : {}),
    ...(line ? { lineStyle: { ...((series["lineStyle"] as Option) ?? {}), width: small ? 1.25 : 1.5 }, showSymbol: small ? false : (series["showSymbol"] ?? false) } : {}),
  };
}

const READABLE = 64; // cells of a confusion matrix that have room for their numbers

/** The cells of a confusion matrix with how many records each has, and their share of the actual class. */
function written(cells: readonly unknown[]): unknown[] {
  if (cells.length > READABLE) return [...cells];
  return (cells as { value: [number, number, number]; count: number }[]).map((cell) => ({
    ...cell,
    label: { show: true, color: colour("text"), lineHeight: 15, formatter: `${count(cell.count)}\n${share(cell.value[2])}` },
  }));
}

/** Limits, such as an objective's bound: neutral, since red is for what is broken. */
function limits(mark: Option, small: boolean): Option {
  const data = ((mark["data"] ?? []) as Option[]).map((one) => ({ ...one, lineStyle: { color: colour("muted"), type: "dashed", width: 1 } }));
  return { ...mark, data, label: { show: !small, formatter: "{b}", position: "insideEndTop", fontSize: 10, color: colour("muted") } };
}

function hiddenMap(map: unknown): unknown {
  return axes(map).map((one) => ({ ...one, show: false }));
}
