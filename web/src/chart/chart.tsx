// A chart of the server's, drawn as SVG: its name and legend as text, bands that can be switched off, a stretch to drag over.
import { useEffect, useRef, useState } from "preact/hooks";
import { inUnit, moment } from "../format";
import { Menu } from "../parts/menu";
import { currentTheme, onSystemTheme } from "../theme";
import type { ChartSpec } from "../types";
import { place, usePlace, type Place } from "../route";
import { colour, drawn, isOverTime, seriesOf, timesOf, type Option, type Series } from "./option";
import { save, type Format } from "./save";
import { onStretch } from "./stretch";

type Instance = ReturnType<typeof import("./echarts").init>;

interface Props {
  spec: ChartSpec;
  height?: number;
  /** Charts of one group share the pointer. */
  group?: string;
  hidden?: readonly string[];
  span?: [number, number] | null;
  heading?: boolean;
  /** Without the times beneath it, where a chart below has them. */
  bare?: boolean;
  stretch?: (from: number, to: number) => void;
  pick?: (hit: { seriesType?: string; name?: string; value?: unknown; data?: unknown }) => void;
}

const none: readonly string[] = [];
const TIMES = 18; // pixels for the times beneath it

export function Chart({ spec, height = 180, group, hidden = none, span = null, heading = true, bare = false, stretch, pick }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<Instance | null>(null);
  const calls = useRef({ stretch, pick });
  calls.current = { stretch, pick };
  const [failed, setFailed] = useState(false);
  const theme = useTheme();
  const option = useRef<() => Option>(() => ({}));
  option.current = () => drawn(spec, { hidden, span, small: false, width: box.current?.clientWidth ?? 600, height, times: !bare });

  useEffect(() => {
    let gone = false;
    let stop = (): void => {};
    const watch = new ResizeObserver(() => {
      chart.current?.resize();
      chart.current?.setOption(option.current(), { notMerge: true });
    });
    void import("./echarts").then(
      ({ init, connect }) => {
        if (gone || !box.current) return;
        const made = init(box.current, null, { renderer: "svg" });
        chart.current = made;
        if (group) {
          made.group = group;
          connect(group);
        }
        made.setOption(option.current(), { notMerge: true });
        if (calls.current.stretch && isOverTime(spec.option)) stop = onStretch(made, box.current, (from, to) => calls.current.stretch?.(from, to));
        made.on("click", (hit) => calls.current.pick?.(hit as never));
        watch.observe(box.current);
      },
      () => setFailed(true),
    );
    return () => {
      gone = true;
      stop();
      watch.disconnect();
      chart.current?.dispose();
      chart.current = null;
    };
  }, [group]);

  useEffect(() => {
    chart.current?.setOption(option.current(), { notMerge: true });
  }, [spec, theme, hidden.join(), span?.join()]);

  const keep = async (format: Format): Promise<void> => {
    const { init } = await import("./echarts");
    const size = { width: box.current?.clientWidth ?? 600, height: bare ? height + TIMES : height };
    const away = document.createElement("div");
    const made = init(away, null, { renderer: "svg", ...size });
    made.setOption(drawn(spec, { hidden, span, small: false, ...size, times: true }));
    const several = linesOf(spec.option).map((series) => ({ name: String(series.name ?? ""), colour: colour(token(series)) }));
    const heading = { title: spec.title, about: about(place(), span ?? timesOf(spec.option)), keys: several.length > 1 ? several : [] };
    await save(away.querySelector("svg")!, heading, colour("surface"), colour("text"), format);
    made.dispose();
  };

  return (
    <figure class="chart">
      {heading && (
        <figcaption>
          <span class="chart-title">{spec.title}</span>
          {spec.kind !== "reliability" && <Legend option={spec.option} unit={spec.unit} hidden={hidden} />}
          <Menu label="Save" quiet>
            <button type="button" onClick={() => void keep("svg")}>SVG</button>
            <button type="button" onClick={() => void keep("png")}>PNG</button>
          </Menu>
        </figcaption>
      )}
      {failed ? <p class="note">The chart could not be loaded. {spec.summary}</p> : null}
      <div ref={box} class={`chart-area${stretch ? " chart-drag" : ""}`} style={{ height: `${height}px` }} role="img" aria-label={spec.summary} />
    </figure>
  );
}

/** What a page's chart is of: its subject, its filters, from when to when. */
function about({ parts, query }: Place, ends: [number, number] | null): string {
  const filters = ["only", "without"].flatMap((kind) => query.getAll(kind).map((text) => `${kind} ${text}`));
  const when = ends ? [`${moment(new Date(ends[0]))} to ${moment(new Date(ends[1]))}`, Intl.DateTimeFormat().resolvedOptions().timeZone] : [];
  return [parts.slice(1).join("."), ...filters, ...when].filter(Boolean).join(", ");
}

/** A chart without axes, for a table's cell. */
export function Small({ spec, width = 140, height = 28 }: { spec: ChartSpec; width?: number; height?: number }) {
  const box = useRef<HTMLDivElement>(null);
  const theme = useTheme();
  useEffect(() => {
    let gone = false;
    let made: Instance | null = null;
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting) || made) return;
      seen.disconnect();
      void import("./echarts").then(({ init }) => {
        if (gone || !box.current) return;
        made = init(box.current, null, { renderer: "svg", width, height });
        made.setOption(drawn(spec, { hidden: [], span: null, small: true, width, height, times: false }), { notMerge: true });
      });
    });
    if (box.current) seen.observe(box.current);
    return () => {
      gone = true;
      seen.disconnect();
      made?.dispose();
    };
  }, [spec, theme, width, height]);
  return <div ref={box} class="small-chart" style={{ width: `${width}px`, height: `${height}px` }} role="img" aria-label={spec.summary} />;
}

function useTheme(): string {
  const [, again] = useState(0);
  usePlace();
  useEffect(() => onSystemTheme(() => again((n) => n + 1)), []);
  return currentTheme();
}

function Legend({ option, unit, hidden }: { option: Option; unit: string; hidden: readonly string[] }) {
  const all = seriesOf(option);
  const lines = linesOf(option);
  const expected = all.some((series) => String(series.id) === "expected:width") && !hidden.includes("expected");
  const within = all.some((series) => /^interval.*width$/.test(String(series.id))) && !hidden.includes("interval");
  const spans = [...new Set(all.flatMap(spanNames))];
  const ramp = rampOf(option);
  if (lines.length < 2 && !expected && !within && !spans.length && !ramp) return null;
  return (
    <ul class="legend">
      {lines.length > 1 && lines.slice(0, 8).map((series) => (
        <li key={series.id ?? series.name}>
          <i class={`key ${token(series)}${series.type === "bar" ? " key-bar" : dashed(series) ? " key-dashed" : ""}`} />
          <bdi>{series.name}</bdi>
        </li>
      ))}
      {within && <li><i class="key key-area interval" />interval</li>}
      {spans.slice(0, 3).map((name) => <li key={name}><i class="key key-area warning" /><bdi>{name}</bdi></li>)}
      {ramp && <Ramp ramp={ramp} unit={unit} />}
      {expected && <li><i class="key key-area band" />expected range</li>}
    </ul>
  );
}

/** The names of stretches of time that are marked. */
function spanNames(series: Series): string[] {
  const data = ((series["markArea"] as Option | undefined)?.["data"] ?? []) as { name?: string }[][];
  return data.map((ends) => String(ends[0]?.name ?? "marked"));
}

/** A heat map's colours: between two values, or below and above the whole. */
function Ramp({ ramp, unit }: { ramp: NonNullable<ReturnType<typeof rampOf>>; unit: string }) {
  const steps = <span class="ramp">{ramp.colours.map((one) => <i key={one} class={`ramp-step ${one}`} />)}</span>;
  if (ramp.colours[0]?.startsWith("diverge")) return <li title="beyond what chance makes of it, at the same time">surely below {steps} surely above the whole</li>;
  return <li>{inUnit(ramp.min, unit)} {steps} {inUnit(ramp.max, unit)}</li>;
}

function rampOf(option: Option): { min: number; max: number; colours: string[] } | null {
  const map = ([] as Option[]).concat((option["visualMap"] as Option) ?? [])[0];
  const colours = (map?.["inRange"] as { color?: string[] } | undefined)?.color;
  if (!map || !colours || map["show"] === false) return null;
  return { min: Number(map["min"]), max: Number(map["max"]), colours: colours.map((one) => one.replace("token:", "")) };
}

/** The series that a legend names. */
function linesOf(option: Option): Series[] {
  return seriesOf(option).filter((series) => (series.type === "line" || series.type === "bar" || series.type === "scatter") && !isBand(series));
}

function isBand(series: Series): boolean {
  return /:(low|width)$/.test(String(series.id ?? ""));
}

function dashed(series: Series): boolean {
  return (series["lineStyle"] as { type?: string } | undefined)?.type === "dashed";
}

function token(series: Series): string {
  const from = series.color ?? (series["itemStyle"] as { color?: string } | undefined)?.color ?? "";
  return from.startsWith("token:") ? from.slice(6) : "series-1";
}
