// What stands where an answer will be, is old, or did not come.
import type { ComponentChildren } from "preact";
import type { Asked } from "../api";
import type { Answer } from "../types";

export function Ready<T>({ asked, children }: { asked: Asked<T>; children: (answer: Answer<T>) => ComponentChildren }) {
  const { answer, failure, loading } = asked;
  if (!answer) return failure ? <Failed asked={asked} /> : <p class="loading" role="status">Loading</p>;
  return (
    <div class={loading ? "stale" : ""} aria-busy={loading}>
      {failure && <p class="banner" role="alert">{failure.message} <button type="button" onClick={asked.again}>Try again</button></p>}
      {children(answer)}
    </div>
  );
}

export function Failed<T>({ asked }: { asked: Asked<T> }) {
  const failure = asked.failure!;
  return (
    <div class="failed" role="alert">
      <h2>{failure.status === 404 ? "There is no such thing here" : failure.status === 403 ? "Not allowed" : "This could not be shown"}</h2>
      <p>{failure.message}</p>
      <button type="button" onClick={asked.again}>Try again</button>
    </div>
  );
}

export function Section({ title, note, tools, children, id }: { title: ComponentChildren; note?: ComponentChildren; tools?: ComponentChildren; children: ComponentChildren; id?: string }) {
  return (
    <section class="section" id={id}>
      <header class="section-head">
        <h2>{title}</h2>
        {note && <span class="quiet">{note}</span>}
        {tools && <span class="tools">{tools}</span>}
      </header>
      {children}
    </section>
  );
}

export function Head({ title, kind, children, tools }: { title: ComponentChildren; kind?: ComponentChildren; children?: ComponentChildren; tools?: ComponentChildren }) {
  return (
    <header class="page-head">
      <div class="page-title">
        {kind && <span class="kind">{kind}</span>}
        <h1>{title}</h1>
        {tools && <span class="tools">{tools}</span>}
      </div>
      {children && <div class="page-facts">{children}</div>}
    </header>
  );
}
