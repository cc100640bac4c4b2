// States, each by a shape and a word, so that none depends on colour. Red is for what is broken.
import { words } from "../format";

type Tone = "broken" | "warning" | "ok" | "quiet" | "accent";

const TONES: Record<string, Tone> = {
  page: "broken", missed: "broken", failed: "broken", broken: "broken", lost: "broken",
  ticket: "warning", at_risk: "warning", degraded: "warning", pending: "warning", provisional: "warning",
  met: "ok", ok: "ok", healthy: "ok", succeeded: "ok", settled: "ok",
  open: "accent", acknowledged: "accent", running: "accent",
};

export function toneOf(state: string): Tone {
  return TONES[state] ?? "quiet";
}

export function Mark({ state, text }: { state: string; text?: string }) {
  const tone = toneOf(state);
  return (
    <span class={`mark ${tone}`}>
      <Shape tone={tone} />
      {text ?? words(state)}
    </span>
  );
}

export function Shape({ tone }: { tone: Tone }) {
  return (
    <svg class="shape" width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
      {tone === "broken" && <path d="M0 0h10v10H0z" />}
      {tone === "warning" && <path d="M5 0 10 10H0z" />}
      {tone === "ok" && <path d="M1 5.2 4 8.2 9.2 1.8" class="stroke" />}
      {tone === "accent" && <circle cx="5" cy="5" r="4.5" />}
      {tone === "quiet" && <circle cx="5" cy="5" r="3.5" class="hollow" />}
    </svg>
  );
}
