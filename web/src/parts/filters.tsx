// Which records a page is about: when, and whose. All of it stands in the address.
import { useState } from "preact/hooks";
import { iso } from "../format";
import { changedBy, set, usePlace } from "../route";
import type { Window } from "../types";
import { A, Name } from "./link";
import { Menu } from "./menu";
import { Time } from "./time";

const LENGTHS = [["1 d", 1], ["7 d", 7], ["30 d", 30], ["90 d", 90]] as const;
const DAY = 86_400_000;

export function Range({ window }: { window: Window | null | undefined }) {
  const { query } = usePlace();
  const now = query.get("start");
  const shown = window?.relative ? Math.round((Date.parse(window.end) - Date.parse(window.start)) / DAY) : null;
  const named = (days: number): boolean => (query.get("end") ? false : now === null ? shown === days : now === `-${days}d`);
  const all = now !== null && now === window?.data_start;
  const own = now !== null && !all && !LENGTHS.some(([, days]) => named(days));
  return (
    <div class="range" role="group" aria-label="time range">
      {LENGTHS.map(([name, days]) => (
        <A key={name} exact href={changedBy({ start: `-${days}d`, end: null, every: null })} class="choice" current={named(days)}>{name}</A>
      ))}
      {window?.data_start && <A exact href={changedBy({ start: window.data_start, end: null, every: null })} class="choice" current={all}>all</A>}
      <Menu wide quiet={!own} label={own ? <Between window={window} /> : "From, to"}><Custom window={window} /></Menu>
      {window && !own && <span class="quiet range-words"><Between window={window} /></span>}
    </div>
  );
}

export function Between({ window }: { window: Pick<Window, "start" | "end"> | null | undefined }) {
  return window ? <><Time at={window.start} /> to <Time at={window.end} /></> : <>chosen</>;
}

function Custom({ window }: { window: Window | null | undefined }) {
  const [start, setStart] = useState(local(window?.start));
  const [end, setEnd] = useState(local(window?.end));
  const ends = (): { start: string; end: string } | null => {
    const found = [new Date(start), new Date(end)];
    return found.every((at) => !Number.isNaN(at.getTime())) && found[0]! < found[1]! ? { start: iso(found[0]!), end: iso(found[1]!) } : null;
  };
  const valid = ends();
  return (
    <form
      class="custom-range"
      onSubmit={(event) => {
        event.preventDefault();
        if (valid) set({ ...valid, every: null, box: null });
      }}
    >
      <label>From <input type="datetime-local" value={start} onInput={(event) => setStart(event.currentTarget.value)} /></label>
      <label>To <input type="datetime-local" value={end} onInput={(event) => setEnd(event.currentTarget.value)} /></label>
      <button type="submit" disabled={!valid}>Show</button>
      <button type="button" disabled={!valid} onClick={() => valid && set({ box: `${valid.start}/${valid.end}` })}>What differs there?</button>
    </form>
  );
}

function local(at: string | null | undefined): string {
  if (!at) return "";
  const date = new Date(at);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** The filters that are on, each with how to take it away. */
export function Chips() {
  const at = usePlace();
  const chips = (["only", "without"] as const).flatMap((kind) => at.query.getAll(kind).map((text) => ({ kind, text })));
  if (chips.length === 0) return null;
  return (
    <ul class="chips" aria-label="filters">
      {chips.map(({ kind, text }) => (
        <li key={kind + text} class={`chip chip-${kind}`}>
          <span>{kind} <Name text={text} /></span>
          <button
            type="button"
            aria-label={`take away: ${kind} ${text.slice(0, 80)}`}
            onClick={() => set({ [kind]: at.query.getAll(kind).filter((one) => one !== text) })}
          >
            ×
          </button>
        </li>
      ))}
    </ul>
  );
}

/** Bands of a chart that can be switched off. */
export function useHidden(): readonly string[] {
  const text = usePlace().query.get("hide");
  return text ? text.split(",") : [];
}

export function Toggle({ name, label }: { name: string; label: string }) {
  const hidden = useHidden();
  const off = hidden.includes(name);
  const next = off ? hidden.filter((one) => one !== name) : [...hidden, name];
  return (
    <label class="toggle">
      <input type="checkbox" checked={!off} onChange={() => set({ hide: next.length ? next.join(",") : null }, { replace: true })} />
      {label}
    </label>
  );
}

/** What takes long to work out, and is left out until it is asked for. */
export function More({ name, label }: { name: string; label: string }) {
  const on = usePlace().query.get(name) === "1";
  return (
    <label class="toggle">
      <input type="checkbox" checked={on} onChange={() => set({ [name]: on ? null : "1" }, { replace: true })} />
      {label}
    </label>
  );
}

/** What is shown, as a file. */
export function Export({ url }: { url: string }) {
  const to = (format: string): string => `${url}${url.includes("?") ? "&" : "?"}format=${format}`;
  return (
    <Menu label="Export">
      {["csv", "parquet", "json"].map((format) => <a key={format} href={to(format)} download>{format === "csv" || format === "json" ? format.toUpperCase() : "Parquet"}</a>)}
    </Menu>
  );
}

export function spanOf(window: Window | null | undefined): [number, number] | null {
  if (!window) return null;
  const ends = [Date.parse(window.start), Date.parse(window.end)] as [number, number];
  return ends.every(Number.isFinite) && ends[0] < ends[1] ? ends : null;
}
