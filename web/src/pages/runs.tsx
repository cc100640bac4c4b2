import { apiUrl, usePageApi } from "../api";
import { Chart } from "../chart/chart";
import { count, length, number, short } from "../format";
import { Export } from "../parts/filters";
import { A, Name } from "../parts/link";
import { Mark } from "../parts/mark";
import { Head, Ready, Section } from "../parts/ready";
import { Pages, Table } from "../parts/table";
import { Time } from "../parts/time";
import { part, set, usePlace } from "../route";
import type { Artifact, Run, RunsPage } from "../types";

const TAKES = ["component", "status", "offset", "order"];
const LIMIT = 100;

export function Runs() {
  return usePlace().query.has("run") ? <OneRun /> : <List />;
}

function List() {
  const { query } = usePlace();
  const asked = usePageApi<RunsPage>("/runs", TAKES, { limit: String(LIMIT) });
  const component = query.get("component");
  return (
    <>
      <Head title={component ? <>Runs of <Name text={component} /></> : "Runs"} tools={<Export url={apiUrl("/runs", TAKES)} />}>
        <label>component{" "}
          <select value={component ?? ""} onChange={(event) => set({ component: event.currentTarget.value || null, offset: null })}>
            <option value="">all</option>
            {(asked.answer?.data.components ?? []).map((name) => <option key={name} value={name}>{short(name, 60)}</option>)}
          </select>
        </label>
        <label>status{" "}
          <select value={query.get("status") ?? ""} onChange={(event) => set({ status: event.currentTarget.value || null, offset: null })}>
            {["", "succeeded", "failed", "running", "lost"].map((one) => <option key={one} value={one}>{one || "all"}</option>)}
          </select>
        </label>
      </Head>
      <Ready asked={asked}>
        {({ data, charts = {} }) => (
          <>
            {charts["durations"] && <Chart spec={charts["durations"]} height={120} />}
            <Table<Run>
              label="runs"
              rows={data.rows}
              id={(row) => row.id}
              empty={component || query.get("status") ? "No such run." : "No component has run yet: @ff.component watches one."}
              columns={[
                { head: "Status", class: "fit", cell: (row) => <Mark state={row.status} /> },
                { head: "Component", cell: (row) => <A href={`/runs?component=${encodeURIComponent(row.component)}`}><Name text={row.component} /></A> },
                { head: "Started", class: "fit", cell: (row) => <A href={row.href}><Time at={row.started} /></A> },
                { head: "For", class: "fit", title: "the event time that it was for", cell: (row) => <Time at={row.at} /> },
                { head: "Took", number: true, class: "fit", cell: (row) => length(row.duration) },
                { head: "Changed", class: "fit", cell: (row) => row.changed.join(", ") || <span class="none">–</span> },
                { head: "Read", cell: (row) => <Artifacts of={row.inputs} /> },
                { head: "Wrote", cell: (row) => <Artifacts of={row.outputs} /> },
                { head: "Error", class: "wide", cell: (row) => (row.error ? <Name text={row.error.trim().split("\n").at(-1) ?? ""} /> : null) },
              ]}
            />
            <Pages total={data.total} shown={data.rows.length} limit={LIMIT} />
          </>
        )}
      </Ready>
    </>
  );
}

function Artifacts({ of }: { of: readonly Artifact[] }) {
  if (of.length === 0) return <span class="none">–</span>;
  return <span class="frequent">{of.slice(0, 3).map((one, i) => <>{i > 0 && ", "}{one.stream ? <A href={`/streams/${part(one.stream)}`}><Name text={one.name} /></A> : <Name text={one.name} />}{one.rows !== null && <span class="quiet"> {count(one.rows)}</span>}</>)}{of.length > 3 && <span class="quiet"> and {of.length - 3} more</span>}</span>;
}

function OneRun() {
  const asked = usePageApi<RunsPage>("/runs", ["run"]);
  return <Ready asked={asked}>{({ data }) => (data.rows[0] ? <One run={data.rows[0]} /> : <p class="empty">There is no such run.</p>)}</Ready>;
}

function One({ run }: { run: Run }) {
  return (
    <>
      <Head kind="Run" title={<><A href={`/runs?component=${encodeURIComponent(run.component)}`}><Name text={run.component} /></A> <Time at={run.started} /></>} />
      <dl class={`facts card ${run.status === "failed" ? "card-broken" : ""}`}>
        <dt>Status</dt><dd><Mark state={run.status} /></dd>
        <dt>Took</dt><dd>{length(run.duration)}</dd>
        <dt>Ended</dt><dd><Time at={run.ended} /></dd>
        <dt>For</dt><dd><Time at={run.at} /></dd>
        <dt>Host</dt><dd>{run.host ? <Name text={run.host} /> : <span class="none">–</span>}</dd>
        <dt>Changed</dt><dd>{run.changed.join(", ") || <span class="quiet">nothing since the run before</span>}</dd>
        {run.parent && <><dt>Part of</dt><dd><A href={`/runs?run=${encodeURIComponent(run.parent)}`}>{run.parent}</A></dd></>}
      </dl>
      {run.error && <pre class="error">{short(run.error, 20_000)}</pre>}
      <div class="columns">
        {([["Read", run.inputs], ["Wrote", run.outputs]] as const).map(([title, rows]) => (
          <Section key={title} title={title}>
            <Table
              label={title}
              rows={rows}
              id={(row, i) => `${row.name}:${i}`}
              columns={[
                { head: "Name", cell: (row) => (row.stream ? <A href={`/streams/${part(row.stream)}`}><Name text={row.name} /></A> : <Name text={row.name} />) },
                { head: "Kind", class: "fit quiet", cell: (row) => row.kind },
                { head: "Rows", number: true, class: "fit", cell: (row) => count(row.rows) },
                { head: "Fingerprint", class: "fit", cell: (row) => <code>{short(row.fingerprint ?? "", 12)}</code> },
              ]}
            />
          </Section>
        ))}
        {([["Parameters", run.params], ["Metrics", run.metrics], ["Code", run.code ?? {}]] as const).map(([title, fields]) =>
          Object.keys(fields).length === 0 ? null : (
            <Section key={title} title={title}>
              <Table
                label={title}
                rows={Object.entries(fields)}
                id={([name]) => name}
                columns={[
                  { head: "Name", cell: ([name]) => <Name text={name} /> },
                  { head: "Value", cell: ([, value]) => <Name text={typeof value === "number" ? number(value, 6) : typeof value === "string" ? value : JSON.stringify(value)} /> },
                ]}
              />
            </Section>
          ),
        )}
      </div>
    </>
  );
}
