import { useState } from "preact/hooks";
import { usePageApi } from "../api";
import { length, number, share, short } from "../format";
import { A, Name } from "../parts/link";
import { Head, Ready, Section } from "../parts/ready";
import { Table } from "../parts/table";
import { Time } from "../parts/time";
import { part, set, usePlace } from "../route";
import type { TracePage } from "../types";

export function Trace() {
  const key = usePlace().query.get("key") ?? "";
  const asked = usePageApi<TracePage>("/trace", ["key"]);
  return (
    <>
      <Head kind="Trace" title={key ? <Name text={key} /> : "The path of one record"}><Ask key={key} now={key} /></Head>
      <Ready asked={asked}>
        {({ data }) =>
          data.steps.length > 0 ? (
            <ol class="steps">{data.steps.map((step, i) => <li key={i}><Step step={step} /></li>)}</ol>
          ) : key ? (
            <p class="empty">No record has this key.</p>
          ) : data.examples?.length ? (
            <p>For example {data.examples.slice(0, 8).map((one, i) => <>{i > 0 && ", "}<A href={`/trace?key=${encodeURIComponent(one)}`}><Name text={one} /></A></>)}</p>
          ) : (
            <p class="empty">No keyed record has been logged yet.</p>
          )
        }
      </Ready>
    </>
  );
}

function Ask({ now }: { now: string }) {
  const [text, setText] = useState(now);
  return (
    <form
      class="ask"
      onSubmit={(event) => {
        event.preventDefault();
        set({ key: text || null });
      }}
    >
      <label>Key <input value={text} onInput={(event) => setText(event.currentTarget.value)} autocomplete="off" spellcheck={false} /></label>
      <button type="submit">Trace</button>
    </form>
  );
}

function Step({ step }: { step: TracePage["steps"][number] }) {
  return (
    <Section
      title={<A href={`/streams/${part(step.stream)}`}><Name text={step.stream} /></A>}
      note={
        <>
          {step.roles.map((role) => <>{role.role} of <A href={`/tasks/${part(role.task)}`}><Name text={role.task} /></A>, </>)}
          <Time at={step.time} />
          {step.delay !== null && <>, {length(step.delay)} after the prediction</>}
          {step.version && <>, version <Name text={step.version} /></>}
          {step.run && <>, in <A href={step.run.href}>a run of <Name text={step.run.component} /></A></>}
        </>
      }
    >
      {step.notes.map((note) => <p class="note" key={note}><Name text={note} /></p>)}
      <Table
        label={`values in ${step.stream}`}
        rows={step.values}
        id={(row, i) => `${row.column}:${i}`}
        tone={(row) => (row.unusual ? "row-unusual" : "")}
        columns={[
          { head: "Column", cell: (row) => <A href={row.href}><Name text={row.column} /></A> },
          { head: "Value", number: true, cell: (row) => shown(row.value) },
          { head: "Among others", number: true, class: "fit", title: "how many of the records have less", cell: (row) => share(row.position, 0) },
          { head: "", class: "wide", cell: (row) => <Name text={row.words ?? ""} class={row.unusual ? "" : "quiet"} /> },
        ]}
      />
    </Section>
  );
}

function shown(value: unknown) {
  if (value === null || value === undefined) return <span class="none">null</span>;
  if (typeof value === "number") return number(value, 6);
  return <Name text={typeof value === "string" ? value : short(JSON.stringify(value), 500)} />;
}
