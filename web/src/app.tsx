// The frame around each page, and which page an address means.
import type { ComponentChildren } from "preact";
import { useEffect, useErrorBoundary, useRef, useState } from "preact/hooks";
import { ask, send } from "./api";
import { A } from "./parts/link";
import { Head } from "./parts/ready";
import { BoxPage } from "./pages/box";
import { Column } from "./pages/column";
import { Compare } from "./pages/compare";
import { Home } from "./pages/home";
import { Incident } from "./pages/incident";
import { IncidentList } from "./pages/incidents";
import { Pipeline } from "./pages/pipeline";
import { Runs } from "./pages/runs";
import { Search } from "./pages/search";
import { Settings } from "./pages/settings";
import { SignIn } from "./pages/sign-in";
import { Stream, Streams } from "./pages/streams";
import { Task } from "./pages/task";
import { Tasks } from "./pages/tasks";
import { Trace } from "./pages/trace";
import { go, set, usePlace, withStaying, type Place } from "./route";
import { applyTheme, currentTheme, keepTheme } from "./theme";
import type { Who } from "./types";
import { useWho, WhoContext } from "./who";

const PAGES = [["/", "Home"], ["/incidents", "Incidents"], ["/pipeline", "Pipeline"], ["/tasks", "Tasks"], ["/streams", "Streams"], ["/runs", "Runs"], ["/trace", "Trace"], ["/compare", "Compare"], ["/settings", "Settings"]] as const;

/** How many names an address has after the kind of its page, at most. */
const NAMES: Record<string, number> = { incidents: 1, tasks: 1, streams: 1, columns: 2 };

function page({ parts }: Place): ComponentChildren {
  const [kind, first, second] = parts;
  if (parts.length - 1 > (NAMES[kind ?? ""] ?? 0)) return <Nowhere />;
  switch (kind) {
    case undefined: return <Home />;
    case "incidents": return first ? <Incident key={first} id={first} /> : <IncidentList />;
    case "pipeline": return <Pipeline />;
    case "tasks": return first ? <Task key={first} name={first} /> : <Tasks />;
    case "streams": return first ? <Stream key={first} name={first} /> : <Streams />;
    case "columns": return first && second ? <Column key={`${first}/${second}`} stream={first} column={second} /> : <Streams />;
    case "box": return <BoxPage />;
    case "runs": return <Runs />;
    case "trace": return <Trace />;
    case "compare": return <Compare />;
    case "search": return <Search />;
    case "settings": return <Settings />;
    default: return <Nowhere />;
  }
}

function Nowhere() {
  return <><Head title="There is no such page" /><p class="empty">No page has this address. Go to <A href="/">Home</A>, or to one of those above.</p></>;
}

export function App() {
  const at = usePlace();
  const [who, setWho] = useState<Who | null>(null);
  useEffect(() => void ask<Who>("/session").then(setWho, () => {}), []);
  useEffect(applyTheme, [at]);
  useEffect(() => {
    document.title = title(at);
  }, [at]);
  const outside = who !== null && who.role === null && at.path !== "/sign-in";
  useEffect(() => {
    if (outside) go(`/sign-in?next=${encodeURIComponent(at.path + location.search)}`, { replace: true });
  }, [outside]);
  const unnamed = who?.role != null && who.project === null && !at.query.has("project") && who.projects.length > 0;
  useEffect(() => {
    if (unnamed) set({ project: who!.projects[0]! }, { replace: true });
  }, [unnamed]);
  if (at.path === "/sign-in") return <main class="centred"><SignIn /></main>;
  if (who === null || outside || unnamed) return <main class="centred"><p class="loading" role="status">Loading</p></main>;
  return (
    <WhoContext.Provider value={who}>
      <a class="skip" href="#main">To the content</a>
      <Top at={at} />
      <main id="main" tabIndex={-1}><Guarded key={at.path}>{page(at)}</Guarded></main>
    </WhoContext.Provider>
  );
}

/** A page that cannot be drawn says so, and leaves the others. */
function Guarded({ children }: { children: ComponentChildren }) {
  const [error, again] = useErrorBoundary();
  if (!error) return <>{children}</>;
  return (
    <div class="failed" role="alert">
      <h1>This page could not be drawn</h1>
      <p>{String(error?.message ?? error)}</p>
      <button type="button" onClick={again}>Try again</button>
    </div>
  );
}

function title({ parts, query }: Place): string {
  const words = parts.length ? parts.map((part) => part.slice(0, 60)).join(" ") : "home";
  return `${words}${query.get("project") ? ` · ${query.get("project")!.slice(0, 40)}` : ""} · fourfold`;
}

function Top({ at }: { at: Place }) {
  useKeys();
  const current = `/${at.parts[0] ?? ""}`;
  return (
    <header class="top">
      <A href="/" class="brand">fourfold</A>
      <Projects />
      <nav aria-label="pages">
        {PAGES.map(([href, name]) => <A key={href} href={href} class="nav" current={href === current || (href === "/streams" && current === "/columns")}>{name}</A>)}
      </nav>
      <Find key={at.path === "/search" ? at.query.get("q") : ""} now={at.path === "/search" ? (at.query.get("q") ?? "") : ""} />
      <ThemeSwitch />
      <SignedIn />
    </header>
  );
}

function Projects() {
  const { query } = usePlace();
  const { projects: known = [], project = null } = useWho() ?? {};
  if (known.length < 2) return null;
  const chosen = query.get("project") ?? project ?? "";
  return (
    <select aria-label="project" class="projects" value={chosen} onChange={(event) => go(`/?project=${encodeURIComponent(event.currentTarget.value)}`)}>
      {known.map((name) => <option key={name} value={name}>{name.slice(0, 60)}</option>)}
    </select>
  );
}

function Find({ now }: { now: string }) {
  const [text, setText] = useState(now);
  return (
    <form
      role="search"
      class="find"
      onSubmit={(event) => {
        event.preventDefault();
        if (text) go(withStaying(`/search?q=${encodeURIComponent(text)}`));
      }}
    >
      <input id="find" type="search" aria-label="search components, columns, slices, keys" placeholder="Search   /" value={text} onInput={(event) => setText(event.currentTarget.value)} autocomplete="off" spellcheck={false} />
    </form>
  );
}

function ThemeSwitch() {
  const theme = currentTheme();
  const other = theme === "dark" ? "light" : "dark";
  return (
    <button
      type="button"
      class="plain"
      onClick={() => {
        keepTheme(other);
        set({ theme: other }, { replace: true });
      }}
      aria-label={`use the ${other} theme`}
    >
      {other === "dark" ? "Dark" : "Light"}
    </button>
  );
}

function SignedIn() {
  const who = useWho();
  if (!who?.signed_in) return null;
  const leave = async (): Promise<void> => {
    await send("DELETE", "/session");
    location.assign("/sign-in");
  };
  return <button type="button" class="plain" title={`${who.name ?? ""} (${who.role ?? ""})`} onClick={() => void leave()}>Sign out</button>;
}

const KEYS: Record<string, string> = { h: "/", i: "/incidents", p: "/pipeline", t: "/tasks", r: "/runs", k: "/trace", c: "/compare", s: "/settings", d: "/streams" };

/** "/" searches; "g" and a letter goes to a page; Escape leaves the search. */
function useKeys(): void {
  const before = useRef(0);
  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      const from = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (from.matches("input, textarea, select")) {
        if (event.key === "Escape" && from.id === "find") from.blur();
        return;
      }
      if (event.key === "/") {
        event.preventDefault();
        document.getElementById("find")?.focus();
      } else if (event.key === "g") before.current = Date.now();
      else if (KEYS[event.key] && Date.now() - before.current < 1_500) {
        before.current = 0;
        go(withStaying(KEYS[event.key]!));
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}
