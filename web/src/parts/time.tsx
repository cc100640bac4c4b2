// Moments in the reader's zone, with UTC where the pointer rests.
import { useEffect, useState } from "preact/hooks";
import { length, moment, utc } from "../format";

export function Time({ at }: { at: string | null | undefined }) {
  if (!at) return <span class="none">–</span>;
  const date = new Date(at);
  return <time dateTime={at} title={utc(date)}>{moment(date)}</time>;
}

/** How long ago, by the clock. */
export function Ago({ at }: { at: string | null | undefined }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 30_000);
    return () => clearInterval(timer);
  }, []);
  if (!at) return <span class="none">–</span>;
  const date = new Date(at);
  const seconds = Math.max((Date.now() - date.getTime()) / 1000, 0);
  return <time dateTime={at} title={`${moment(date)}, ${utc(date)}`}>{roughly(seconds)} ago</time>;
}

function roughly(seconds: number): string {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds >= 86_400 * 2) return `${Math.round(seconds / 86_400)} d`;
  if (seconds >= 3_600 * 2) return `${Math.round(seconds / 3_600)} h`;
  return length(Math.round(seconds / 60) * 60);
}

/** When something began: the moment, and the interval that it lies in. */
export function Onset({ at, low, high, words = false }: { at: string; low: string; high: string; words?: boolean }) {
  const known = low === high || (low === at && high === at);
  return (
    <span class="onset">
      <Time at={at} />
      {words && !known && <span class="quiet"> between <Time at={low} /> and <Time at={high} /></span>}
    </span>
  );
}
