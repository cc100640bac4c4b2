// What the pointer is over, in words. Built from text nodes: a name that holds markup stays a name.
import { inUnit, moment, number, short, utc } from "../format";
import type { ChartSpec } from "../types";
import { colour, isHeat, isOfNumbers, isOverTime, seriesOf, type Option, type Series } from "./option";

interface Hit {
  seriesId?: string;
  seriesIndex?: number;
  seriesName?: string;
  dataIndex: number;
  name?: string;
  value?: unknown;
  data?: unknown;
  color?: unknown;
  axisValue?: unknown;
}

export function tooltip(spec: ChartSpec, option: Option): Option {
  const lines = seriesOf(option).every((series) => series.type === "line" || series.type === "bar") && !isOfNumbers(option);
  return {
    trigger: lines ? "axis" : "item",
    confine: true,
    transitionDuration: 0,
    showDelay: 0,
    hideDelay: 0,
    enterable: false,
    padding: [6, 8],
    borderWidth: 1,
    borderColor: colour("line"),
    backgroundColor: colour("surface"),
    textStyle: { color: colour("text"), fontSize: 12 },
    extraCssText: "box-shadow: none; border-radius: 3px; max-width: 420px; overflow: hidden;",
    axisPointer: { type: lines ? "line" : "none" },
    formatter: (hit: Hit | Hit[]) => told(spec, option, Array.isArray(hit) ? hit : [hit]),
  };
}

function told(spec: ChartSpec, option: Option, hits: Hit[]): HTMLElement {
  const box = element("div", "tip");
  const first = hits[0];
  if (!first) return box;
  if ((isOverTime(option) || isHeat(option)) && Array.isArray(first.value)) {
    const at = new Date(Number(isHeat(option) ? first.name : first.value[0]));
    if (Number.isFinite(at.getTime())) box.append(element("strong", "", moment(at)), element("span", "tip-utc", utc(at)));
  } else if (first.axisValue !== undefined || first.name) {
    box.append(element("strong", "", short(String(first.axisValue ?? first.name), 80)));
  }
  const rows = element("div", "tip-rows");
  for (const hit of hits) {
    const series = seriesOf(option).find((one) => String(one.id ?? "") === hit.seriesId && one.id !== undefined) ?? seriesOf(option)[hit.seriesIndex ?? 0];
    if (/:(low|width)$/.test(String(series?.id ?? ""))) continue;
    rows.append(...row(spec, option, series, hit));
  }
  box.append(rows);
  return box;
}

function row(spec: ChartSpec, option: Option, series: Series | undefined, hit: Hit): HTMLElement[] {
  const value = Array.isArray(hit.value) ? hit.value : [hit.value];
  if (series?.type === "heatmap") {
    const [x, y, level] = value as [number, number, number | null];
    const counted = (hit.data as { count?: number } | undefined)?.count;
    if (counted !== undefined) return pair(`${category(option["yAxis"], y)} as ${category(option["xAxis"], x)}`, number(counted));
    return pair(category(option["yAxis"], y), inUnit(level, spec.unit));
  }
  const last = value[value.length - 1];
  const shown = typeof last === "number" ? inUnit(last, spec.unit) : last === null || last === undefined ? "no data" : short(String(last), 80);
  const found = pair(short(hit.seriesName ?? spec.title, 60), shown, typeof hit.color === "string" ? hit.color : undefined);
  const suffix = String(series?.id ?? "").replace(/^line:/, "");
  const limits = band(option, suffix === "0" || suffix === "" ? "interval" : `interval:${suffix}`, hit.dataIndex, spec.unit);
  if (limits) found.push(...pair("interval", limits));
  const expected = suffix === "0" || suffix === "" ? band(option, "expected", hit.dataIndex, spec.unit) : null;
  if (expected) found.push(...pair("expected", expected));
  return found;
}

function band(option: Option, id: string, index: number, unit: string): string | null {
  const at = (part: string): number | null => {
    const entry = seriesOf(option).find((one) => one.id === `${id}:${part}`)?.data?.[index];
    const value = Array.isArray(entry) ? entry[1] : entry;
    return typeof value === "number" ? value : null;
  };
  const low = at("low");
  const width = at("width");
  return low === null || width === null ? null : `${inUnit(low, unit)} to ${inUnit(low + width, unit)}`;
}

function category(axis: unknown, index: number): string {
  const one = (Array.isArray(axis) ? axis[0] : axis) as { data?: unknown[] } | undefined;
  return short(String(one?.data?.[index] ?? ""), 80);
}

function pair(name: string, value: string, mark?: string): HTMLElement[] {
  const label = element("span", "tip-name");
  if (mark) {
    const dot = element("i", "tip-mark");
    dot.style.backgroundColor = mark;
    label.append(dot);
  }
  label.append(element("bdi", "", name));
  return [label, element("span", "tip-value", value)];
}

function element(tag: string, name: string, text = ""): HTMLElement {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}
