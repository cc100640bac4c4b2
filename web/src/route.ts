// Where we are. All that a view depends on is in the address, so that it can be pasted into a chat.
import { useEffect, useState } from "preact/hooks";

export interface Place {
  path: string;
  /** The path's parts, decoded: a name may hold a slash. */
  parts: string[];
  query: URLSearchParams;
}

/** What stays when a link leads on: whose project, when, and how it looks. */
const STAYS = ["project", "start", "end", "theme"];

const DOTS = /^~*\.{1,2}$/;

type Listener = (place: Place) => void;
const listeners = new Set<Listener>();
let here = read();

function read(): Place {
  const path = location.pathname;
  return { path, parts: path.split("/").slice(1).filter(Boolean).map(decoded), query: new URLSearchParams(location.search) };
}

/** A name as a part of an address: browsers take "." and ".." for steps, encoded too, so these get a "~". */
export function part(name: string): string {
  return encodeURIComponent(DOTS.test(name) ? `~${name}` : name);
}

function decoded(part: string): string {
  try {
    const name = decodeURIComponent(part);
    return DOTS.test(name) && name.startsWith("~") ? name.slice(1) : name;
  } catch {
    return part;
  }
}

function changed(): void {
  here = read();
  for (const listener of listeners) listener(here);
}

addEventListener("popstate", changed);

export function place(): Place {
  return here;
}

export function usePlace(): Place {
  const [at, setAt] = useState(here);
  useEffect(() => {
    setAt(here);
    listeners.add(setAt);
    return () => void listeners.delete(setAt);
  }, []);
  return at;
}

/** Go to an address of these pages. Replacing is for what nobody wants to come back to. */
export function go(href: string, { replace = false } = {}): void {
  if (replace) history.replaceState(null, "", href);
  else history.pushState(null, "", href);
  changed();
  if (!replace && !href.startsWith(location.pathname + "?")) scrollTo(0, 0);
}

/** An address with what stays, unless it says otherwise itself. */
export function withStaying(href: string, query: URLSearchParams = here.query): string {
  const cut = href.indexOf("?");
  const path = cut < 0 ? href : href.slice(0, cut);
  const own = new URLSearchParams(cut < 0 ? "" : href.slice(cut + 1));
  for (const name of STAYS) {
    const value = query.get(name);
    if (value && !own.has(name)) own.set(name, value);
  }
  return joined(path, own);
}

export function joined(path: string, query: URLSearchParams): string {
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

type Changes = Record<string, string | string[] | null>;

/** This address with other parameters; null takes one away. */
export function changedBy(changes: Changes, at: Place = here): string {
  const query = new URLSearchParams(at.query);
  for (const [name, value] of Object.entries(changes)) {
    query.delete(name);
    if (Array.isArray(value)) for (const one of value) query.append(name, one);
    else if (value !== null) query.set(name, value);
  }
  return joined(at.path, query);
}

export function set(changes: Changes, options?: { replace?: boolean }): void {
  go(changedBy(changes), options);
}
