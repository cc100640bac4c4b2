// What the server says. An answer that has not changed is not sent again, so that asking every few seconds costs little.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Answer } from "./types";
import { place, usePlace } from "./route";

export class Failure extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const POLL = 3_000; // milliseconds
const KEPT = 40; // answers
const answers = new Map<string, { etag: string; answer: unknown }>();

/** Ask for an address under /api. Throws a Failure that says what is wrong. */
export async function ask<T>(url: string, signal?: AbortSignal): Promise<T> {
  const known = answers.get(url);
  const headers: Record<string, string> = known ? { "If-None-Match": known.etag } : {};
  const response = await answered(url, { headers, signal: signal ?? null, cache: "no-store" });
  if (response.status === 304 && known) return known.answer as T;
  const answer = (await response.json()) as T;
  const etag = response.headers.get("ETag");
  if (etag) {
    answers.delete(url);
    answers.set(url, { etag, answer });
    for (const oldest of answers.keys()) {
      if (answers.size <= KEPT) break;
      answers.delete(oldest);
    }
  }
  return answer;
}

/** Change something. */
export async function send<T>(method: string, url: string, body?: unknown): Promise<T | null> {
  const init: RequestInit = { method, headers: { "Content-Type": "application/json" } };
  if (body !== undefined) init.body = JSON.stringify(body);
  const response = await answered(url, init);
  answers.clear();
  return response.status === 204 ? null : ((await response.json()) as T);
}

async function answered(url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { credentials: "same-origin", ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Failure(0, "The server cannot be reached. What is shown may be old.");
  }
  if (response.ok || response.status === 304) return response;
  const text = await response
    .json()
    .then((content) => String(content?.error?.message ?? ""))
    .catch(() => "");
  throw new Failure(response.status, text || `The server answered ${response.status}.`);
}

export interface Asked<T> {
  answer: Answer<T> | null;
  failure: Failure | null;
  /** A newer answer is on its way; the one that is shown belongs to another address. */
  loading: boolean;
  again: () => void;
}

/** An answer that is kept up to date while it is looked at. */
export function useApi<T>(url: string | null): Asked<T> {
  const [state, setState] = useState<{ url: string | null; answer: Answer<T> | null; failure: Failure | null }>({
    url: null,
    answer: null,
    failure: null,
  });
  const again = useRef<() => void>(() => {});
  useEffect(() => {
    if (url === null) return;
    const abort = new AbortController();
    let timer = 0;
    const next = async (): Promise<void> => {
      clearTimeout(timer);
      if (!document.hidden) {
        try {
          const answer = await ask<Answer<T>>(url, abort.signal);
          setState((old) => (old.url === url && old.answer === answer && !old.failure ? old : { url, answer, failure: null }));
        } catch (error) {
          if (abort.signal.aborted) return;
          const failure = error instanceof Failure ? error : new Failure(0, String(error));
          setState((old) => ({ url, answer: old.url === url ? old.answer : null, failure }));
          if (failure.status === 401) return;
        }
      }
      if (!abort.signal.aborted) timer = window.setTimeout(next, POLL);
    };
    again.current = () => void next();
    const seen = (): void => {
      if (!document.hidden) void next();
    };
    document.addEventListener("visibilitychange", seen);
    void next();
    return () => {
      abort.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [url]);
  return {
    answer: state.answer,
    failure: state.url === url ? state.failure : null,
    loading: url !== null && state.url !== url,
    again: () => again.current(),
  };
}

/** The address under /api of this page's subject, with those of the page's parameters that it takes. */
export function apiUrl(path: string, takes: readonly string[], more: Record<string, string> = {}): string {
  const query = new URLSearchParams();
  for (const name of ["project", ...takes]) {
    for (const value of place().query.getAll(name)) query.append(name, value);
  }
  for (const [name, value] of Object.entries(more)) query.set(name, value);
  const text = query.toString();
  return `/api${path}${text ? `?${text}` : ""}`;
}

/** As `useApi`, for the page's own address. */
export function usePageApi<T>(path: string | null, takes: readonly string[] = [], more: Record<string, string> = {}): Asked<T> {
  usePlace();
  return useApi<T>(path === null ? null : apiUrl(path, takes, more));
}
