// Numbers, lengths and moments in words. A thin space groups digits; a true minus sign stands before negatives.
import type { Slice, Value } from "./types";

const DAY = 86_400;
const NONE = "–";

/** A number to three significant digits, whole if it is a count. */
export function number(value: number | null | undefined, digits = 3): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (Number.isInteger(value) && size < 1e15) return grouped(value);
  if (size >= 1e6 || size < 1e-4) return signed(value.toExponential(digits - 1).replace("e+", "e"));
  if (size >= 1000) return grouped(Math.round(value));
  return signed(String(Number(value.toPrecision(digits))));
}

/** A number with as many decimals as its neighbours, so that a column of them is aligned. */
export function fixed(value: number | null | undefined, decimals = 3): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (Math.abs(value) >= 1000 || (value !== 0 && Math.abs(value) < 10 ** -decimals / 2)) return number(value);
  return signed(value.toFixed(decimals));
}

export function count(value: number | null | undefined): string {
  return value === null || value === undefined || !Number.isFinite(value) ? NONE : grouped(Math.round(value));
}

export function share(value: number | null | undefined, digits = 1): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (value > 0 && value < 0.0005) return "<0.1 %";
  return `${signed((100 * value).toFixed(digits))} %`;
}

export function length(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NONE;
  const size = Math.abs(seconds);
  for (const [unit, name] of [[DAY, "d"], [3_600, "h"], [60, "min"]] as const) {
    if (size >= unit) return `${number(seconds / unit, seconds / unit >= 100 ? 4 : 3)} ${name}`;
  }
  if (size === 0) return "0 s";
  return size < 0.9995 ? `${number(seconds * 1000)} ms` : `${number(seconds)} s`;
}

/** A number in its unit; a metric that is a share is a ratio, as the field writes it. */
export function inUnit(value: number | null | undefined, unit: string): string {
  if (unit === "ratio") return fixed(value);
  if (unit === "share") return share(value);
  if (unit === "seconds") return length(value);
  return number(value);
}

/** A short number for an axis. */
export function onAxis(value: number, unit: string): string {
  if (unit === "ratio") return number(value);
  if (unit === "share") return `${signed(String(Number((100 * value).toPrecision(3))))} %`;
  if (unit === "seconds") return length(value);
  const size = Math.abs(value);
  for (const [at, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]] as const) {
    if (size >= at && size < 1e15) return signed(`${Number((value / at).toPrecision(3))}${letter}`);
  }
  return number(value);
}

/** The unit of a metric's values, where a share is a ratio. */
export function ofMetric(unit: string): string {
  return unit === "share" ? "ratio" : unit;
}

export function interval(value: Value, unit = "number"): string {
  if (value.low === null || value.high === null) return "";
  return unit === "share" ? `${share(value.low)} to ${share(value.high)}` : `${inUnit(value.low, unit)} to ${inUnit(value.high, unit)}`;
}

function grouped(value: number): string {
  return signed(String(Math.abs(value)).replace(/\B(?=(\d{3})+$)/g, "\u202f"), value < 0);
}

function signed(text: string, negative = false): string {
  return negative ? `\u2212${text}` : text.replace(/^-/, "\u2212").replace("e-", "e\u2212");
}

const two = (part: number): string => String(part).padStart(2, "0");

/** A moment in the reader's zone; a midnight is a day. */
export function moment(at: Date): string {
  if (Number.isNaN(at.getTime())) return NONE;
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  if (at.getHours() === 0 && at.getMinutes() === 0 && at.getSeconds() === 0) return day;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

export function utc(at: Date): string {
  return Number.isNaN(at.getTime()) ? NONE : `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** ISO 8601 without milliseconds, as the server writes it. */
export function iso(at: Date): string {
  return at.toISOString().replace(/\.\d+Z$/, "Z");
}

export function sliceWords(slice: Slice): string {
  const parts = Object.entries(slice).map(([name, value]) => `${name}=${value === null ? "null" : String(value)}`);
  return parts.join(", ");
}

/** The least text that is worth showing whole; the rest is in the title. */
export function short(text: string, longest = 200): string {
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}

export function words(state: string): string {
  return state.replaceAll("_", " ");
}
