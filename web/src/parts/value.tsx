// A value with its interval. No data is said, with the reason, and is never a number.
import { fixed, inUnit, interval, share } from "../format";
import type { Value } from "../types";

export function Number_({ value, unit = "number" }: { value: Value | null | undefined; unit?: string }) {
  if (!value || value.value === null) {
    return <span class="none" title={value?.reason || undefined}>no data</span>;
  }
  const text = unit === "number" ? fixed(value.value) : inUnit(value.value, unit);
  const within = interval(value, unit);
  return <span class={value.status === "estimated" ? "estimated" : ""} title={within ? `95 % interval: ${within}` : undefined}>{value.status === "estimated" ? "≈ " : ""}{text}</span>;
}

export function Interval({ value, unit = "number" }: { value: Value | null | undefined; unit?: string }) {
  if (!value || value.value === null || value.low === null || value.high === null) return null;
  if (value.low === value.high) return <span class="interval-text" />;
  const shown = (end: number): string => (unit === "share" ? share(end).replace(" %", "") : unit === "number" ? fixed(end) : inUnit(end, unit));
  return <span class="interval-text">{shown(value.low)}{value.low < 0 ? " to " : "–"}{shown(value.high)}</span>;
}

/** Whether its labels have come. */
export function Settled({ value }: { value: Value | null | undefined }) {
  if (!value || value.status === "no_data") return null;
  return <span class={value.status === "settled" ? "quiet" : "provisional"}>{value.status}</span>;
}

export function Coverage({ value }: { value: number | null | undefined }) {
  return value === null || value === undefined ? <span class="none">–</span> : <>{share(value)}</>;
}

/** A share as a bar, beside its number. */
export function Bar({ value, tone = "" }: { value: number | null | undefined; tone?: string }) {
  if (value === null || value === undefined || !Number.isFinite(value)) return <span class="none">–</span>;
  const width = Math.max(0, Math.min(1, value)) * 100;
  return (
    <span class="bar-cell">
      <svg class={`bar ${tone}`} width="48" height="8" aria-hidden="true">
        <rect class="bar-back" width="48" height="8" />
        <rect class="bar-full" width={(width * 48) / 100} height="8" />
      </svg>
      <span class="number">{share(value)}</span>
    </span>
  );
}
