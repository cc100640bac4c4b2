// From the server's option to the one that is drawn: its colours by the theme, our type, margins, axes and tooltip.
import { onAxis } from "../format";
import type { ChartSpec } from "../types";
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
}

const COLOURED = new Set(["color", "borderColor", "backgroundColor"]);
const MARGIN = { left: 60, right: 16, top: 12, bottom: 24 };

export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim() || "currentColor";
}

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
  const { legend: _, title: __, ...rest } = option;
  const small = drawing.small;
  return {
    ...rest,
    animation: false,
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 11 },
    grid: axes(option["grid"]).length > 1 ? option["grid"] : { ...(small ? { left: 0, right: 0, top: 2, bottom: 2 } : grid(option, overTime)) },
    xAxis: axes(option["xAxis"]).map((axis) => horizontal(axis, drawing)),
    yAxis: axes(option["yAxis"]).map((axis) => vertical(axis, spec.unit, small)),
    series: seriesOf(option)
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

function isHeat(option: Option): boolean {
  return seriesOf(option).some((series) => series.id === "heat");
}

function horizontal(axis: Option, { span, small }: Drawing): Option {
  const shared = { ...axis, ...(small ? { show: false } : {}), axisTick: { show: false } };
  if (axis["type"] !== "time") return { ...shared, axisLabel: { ...labels(axis), hideOverlap: true } };
  return {
    ...shared,
    ...(span ? { min: span[0], max: span[1] } : {}),
    axisPointer: { show: !small, type: "line", snap: true, label: { show: false }, lineStyle: { color: colour("muted"), type: "solid", width: 1 } },
    axisLabel: { ...labels(axis), hideOverlap: true, showMinLabel: false, showMaxLabel: false, formatter: TIME },
    splitLine: { show: false },
  };
}

const TIME = { year: "{yyyy}", month: "{MMM} {yyyy}", day: "{MMM} {d}", hour: "{HH}:{mm}", minute: "{HH}:{mm}", second: "{HH}:{mm}:{ss}", millisecond: "{ss}.{SSS}", none: "{yyyy}-{MM}-{dd}" };

function vertical(axis: Option, unit: string, small: boolean): Option {
  const shared = { ...axis, ...(small ? { show: false } : {}), axisTick: { show: false } };
  if (axis["type"] === "category") return { ...shared, axisLabel: { ...labels(axis), width: MARGIN.left - 12, overflow: "truncate" } };
  return {
    ...shared,
    splitNumber: 3,
    axisLine: { show: false },
    axisLabel: { ...labels(axis), formatter: (value: number) => onAxis(value, unit), hideOverlap: true },
    splitLine: { lineStyle: { color: colour("grid") } },
  };
}

function labels(axis: Option): Option {
  return { ...((axis["axisLabel"] as Option) ?? {}), fontSize: 11, color: colour("muted") };
}

function plainly(series: Series, small: boolean): Series {
  const line = series.type === "line" && !String(series.id ?? "").match(/^(interval|expected)/);
  return {
    ...series,
    emphasis: { disabled: series.type !== "heatmap" },
    ...(line ? { lineStyle: { ...((series["lineStyle"] as Option) ?? {}), width: small ? 1.25 : 1.5 }, showSymbol: small ? false : (series["showSymbol"] ?? false) } : {}),
  };
}

function hiddenMap(map: unknown): unknown {
  return axes(map).map((one) => ({ ...one, show: false }));
}
