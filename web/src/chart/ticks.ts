// Round places on axes: lengths of time at whole units, shares at quarters, moments at days, weeks and months of the reader.
const MINUTE = 60;
const HOUR = 3_600;
const DAY = 86_400;
const LENGTHS = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE,
  30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY, 365 * DAY,
];
const SHARES = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1];

export interface Scale {
  min: number;
  max: number;
  interval: number;
}

/** A round scale around two values with about `parts` parts; null where the chart's own is as good. */
export function scaleOf(low: number, high: number, unit: string, parts: number): Scale | null {
  const shares = unit === "share" || unit === "ratio";
  if ((unit !== "seconds" && !shares) || !Number.isFinite(high - low)) return null;
  if (shares && (low < 0 || high > 1.0001)) return null;
  const spread = high - low || Math.abs(high) || 1;
  const interval = (unit === "seconds" ? LENGTHS : SHARES).find((step) => spread / step <= parts);
  if (interval === undefined) return null;
  const min = Math.floor(low / interval + 1e-9) * interval;
  const max = Math.max(Math.ceil(high / interval - 1e-9) * interval, min + interval);
  return { min, max, interval };
}

type Step = { unit: "minute" | "hour" | "day" | "month"; by: number; about: number };
const STEPS: Step[] = [
  { unit: "minute", by: 5, about: 5 * MINUTE }, { unit: "minute", by: 15, about: 15 * MINUTE }, { unit: "hour", by: 1, about: HOUR },
  { unit: "hour", by: 3, about: 3 * HOUR }, { unit: "hour", by: 6, about: 6 * HOUR }, { unit: "hour", by: 12, about: 12 * HOUR },
  { unit: "day", by: 1, about: DAY }, { unit: "day", by: 2, about: 2 * DAY }, { unit: "day", by: 7, about: 7 * DAY },
  { unit: "day", by: 14, about: 14 * DAY }, { unit: "month", by: 1, about: 30 * DAY }, { unit: "month", by: 3, about: 91 * DAY },
  { unit: "month", by: 6, about: 182 * DAY }, { unit: "month", by: 12, about: 365 * DAY }, { unit: "month", by: 60, about: 1_826 * DAY },
];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Round moments between two, at most `most`, in milliseconds. */
export function moments(from: number, to: number, most: number): number[] {
  const step = STEPS.find((one) => (to - from) / 1000 / one.about <= most) ?? STEPS[STEPS.length - 1]!;
  const at = begin(new Date(from), step);
  const found: number[] = [];
  while (at.getTime() <= to && found.length < 100) {
    if (at.getTime() >= from) found.push(at.getTime());
    next(at, step);
  }
  return found;
}

function begin(date: Date, { unit, by }: Step): Date {
  const [year, month, day] = [date.getFullYear(), date.getMonth(), date.getDate()];
  if (unit === "month") return new Date(year, month - (((year * 12 + month) % by) + by) % by, 1);
  if (unit === "day") {
    const weekday = (date.getDay() + 6) % 7;
    return new Date(year, month, by % 7 === 0 ? day - weekday : day);
  }
  if (unit === "hour") return new Date(year, month, day, date.getHours() - (date.getHours() % by));
  return new Date(year, month, day, date.getHours(), date.getMinutes() - (date.getMinutes() % by));
}

function next(at: Date, { unit, by }: Step): void {
  if (unit === "month") at.setMonth(at.getMonth() + by);
  else if (unit === "day") at.setDate(at.getDate() + by);
  else if (unit === "hour") at.setHours(at.getHours() + by);
  else at.setMinutes(at.getMinutes() + by);
}

/** A tick's moment: a time within a day, a day within a year, the year where it begins. */
export function tickWords(at: number, spread: number): string {
  const date = new Date(at);
  const clock = `${String(date.getHours()).padStart(2, "0")}:${String(date.getMinutes()).padStart(2, "0")}`;
  if (clock !== "00:00") return clock;
  const [month, day] = [MONTHS[date.getMonth()]!, date.getDate()];
  if (day === 1 && date.getMonth() === 0) return String(date.getFullYear());
  if (spread > 300 * DAY * 1000 && day === 1) return month;
  return `${month} ${day}`;
}
