import { Small } from "../chart/chart";
import { Mark, Shape, toneOf } from "../parts/mark";
import { A, Name, Outside } from "../parts/link";
import { Incidents } from "../parts/incidents";
import { Ready, Section } from "../parts/ready";
import { Table, type Column } from "../parts/table";
import { Ago, Onset, Time } from "../parts/time";
import { Bar, Coverage, Interval, Number_, Settled } from "../parts/value";
import { count, inUnit, length, ofMetric, sliceWords, words } from "../format";
import { usePageApi } from "../api";
import type { ChartSpec, Group, Home as Data, Objective, TaskRow } from "../types";

const STATES: Record<string, string> = { broken: "Broken", degraded: "Degraded", healthy: "Healthy", unchecked: "Not checked yet", empty: "Nothing yet" };

export function Home() {
  const asked = usePageApi<Data>("/home");
  return (
    <Ready asked={asked}>
      {({ data, charts = {} }) => (data.state === "empty" ? <Nothing project={data.project} /> : <Filled data={data} charts={charts} />)}
    </Ready>
  );
}

function Filled({ data, charts }: { data: Data; charts: Record<string, ChartSpec> }) {
  const worst = data.incidents.find((row) => row.state !== "snoozed");
  return (
    <>
      <header class={`standing standing-${toneOf(data.state)}`}>
        <h1><Shape tone={toneOf(data.state)} /> {STATES[data.state] ?? words(data.state)}</h1>
        <p class="headline">{data.headline}</p>
        <p class="quiet">
          Data until <Time at={data.data_end} />{data.behind && "; records are waiting to be counted"}
        </p>
      </header>
      {worst && (
        <p class="first-look">
          <A href={worst.href}><Name text={worst.title} /></A>
          <span class="quiet">began <Onset at={worst.began} low={worst.began_low} high={worst.began_high} />, in</span>
          {worst.where.href ? <A href={worst.where.href}><Name text={worst.where.label} /></A> : <Name text={worst.where.label} />}
        </p>
      )}
      <Section title="Objectives" note={partOf(data.objectives.length, data.objectives_total)}>
        <Table
          label="objectives"
          rows={data.objectives}
          columns={objectives(charts)}
          id={(row) => `${row.name}:${sliceWords(row.slice)}`}
          tone={(row) => (row.status === "missed" ? "row-broken" : "")}
          empty={<>No objective is declared. <code>ff.objective("late-recall", "recall(late) &gt;= 90 %", window="30d")</code> makes one.</>}
        />
      </Section>
      <Section title="The four groups of problems">
        <Groups groups={data.groups} incidents={new Map(data.incidents.map((row) => [row.id, row.href]))} />
      </Section>
      <Section title="Open incidents" note={partOf(data.incidents.length, data.incidents_total)} tools={<A href="/incidents?state=all">All incidents</A>}>
        <Incidents rows={data.incidents} />
      </Section>
      <div class="columns">
        <Section title="Tasks" note={partOf(data.tasks.length, data.tasks_total)} tools={<A href="/tasks">All tasks</A>}>
          <Table
            label="tasks"
            rows={data.tasks}
            id={(row) => row.name}
            empty={<>No task is declared: <code>ff.task(…)</code>, or a section <code>[task.NAME]</code> of fourfold.toml, joins predictions with labels.</>}
            columns={[
              { head: "Task", cell: (row) => <A href={row.href}><Name text={row.name} /></A> },
              { head: "Kind", class: "fit quiet", cell: (row) => words(row.kind) },
              ...[0, 1, 2].map((i) => ({
                head: "",
                number: true,
                cell: (row: TaskRow) => row.metrics[i] && <span class="labelled"><span class="quiet">{row.metrics[i].title}</span> <Number_ value={row.metrics[i].value} /></span>,
              })),
              { head: "Trend", class: "fit", cell: (row) => row.chart && charts[row.chart] && <Small spec={charts[row.chart]!} /> },
            ]}
          />
        </Section>
        <Section title="Components" note={partOf(data.components.length, data.components_total)} tools={<A href="/pipeline">Pipeline</A>}>
          <Table
            label="components"
            rows={data.components}
            id={(row) => row.name}
            empty={<>No component has run yet: <code>@ff.component</code> watches one.</>}
            columns={[
              { head: "Component", cell: (row) => <A href={row.href}><Name text={row.name} /></A> },
              { head: "Last run", class: "fit", cell: (row) => <Mark state={row.status} /> },
              { head: "When", class: "fit", cell: (row) => <Ago at={row.last_run} /> },
              { head: "Took", number: true, class: "fit", cell: (row) => length(row.duration) },
              { head: "Runs", number: true, class: "fit", cell: (row) => count(row.runs) },
              { head: "Failed of 10", number: true, class: "fit", cell: (row) => row.failed_of_last_10 },
            ]}
          />
        </Section>
      </div>
      {data.problems > 0 && <p class="note"><A href="/settings">{data.problems} {data.problems === 1 ? "problem" : "problems"} of the data themselves</A>, such as labels that join nothing.</p>}
    </>
  );
}

/** How many of a list are shown, where it is not all. */
function partOf(shown: number, total: number): string | undefined {
  return total > shown ? `${count(shown)} of ${count(total)}` : undefined;
}

function objectives(charts: Record<string, ChartSpec>): Column<Objective>[] {
  return [
    { head: "Status", class: "fit", cell: (row) => <Mark state={row.status} /> },
    {
      head: "Objective",
      class: "wide",
      cell: (row) => (
        <>
          <A href={row.href}><Name text={row.name} /></A> <span class="quiet"><Name text={row.expression} />, {row.window}</span>
          {Object.keys(row.slice).length > 0 && <span class="sub">for <Name text={sliceWords(row.slice)} /></span>}
          {row.reason && row.status !== "met" && <span class="sub"><Name text={row.reason} /></span>}
        </>
      ),
    },
    { head: "Value", number: true, class: "fit", cell: (row) => <><Number_ value={row.value} unit={unit(row)} /><Interval value={row.value} unit={unit(row)} /></> },
    { head: "Asked", number: true, class: "fit", cell: (row) => <>{ASKED[row.op] ?? row.op} {inUnit(row.bound, unit(row))}</> },
    { head: "Budget left", class: "fit", cell: (row) => <Bar value={row.budget?.remaining ?? null} tone={(row.budget?.remaining ?? 1) <= 0 ? "broken" : ""} /> },
    { head: "Labels", number: true, class: "fit", title: "the share of predictions whose label has come", cell: (row) => <Coverage value={row.value.coverage} /> },
    { head: "", class: "fit", cell: (row) => <Settled value={row.value} /> },
    { head: "Trend", class: "fit", cell: (row) => row.chart && charts[row.chart] && <Small spec={charts[row.chart]!} /> },
    { head: "Owner", class: "fit", cell: (row) => <>{row.owner ? <Name text={row.owner} /> : <span class="none">–</span>}{row.runbook && <> <Outside href={row.runbook} /></>}</> },
  ];
}

const ASKED: Record<string, string> = { ">=": "≥", "<=": "≤" };

function unit(row: Objective): string {
  return ofMetric(row.unit_of_value || "number");
}

function Groups({ groups, incidents }: { groups: readonly Group[]; incidents: Map<string, string> }) {
  const spans = [...new Set(groups.map((group) => group.span))];
  const states = [...new Set(groups.map((group) => group.state))];
  return (
    <div class="table-box">
      <table class="groups" aria-label="health by group of problems">
        <thead><tr><td />{spans.map((span) => <th key={span} scope="col">{span}</th>)}</tr></thead>
        <tbody>
          {states.map((state) => (
            <tr key={state}>
              <th scope="row">{state}</th>
              {spans.map((span) => {
                const group = groups.find((one) => one.state === state && one.span === span);
                return <td key={span}>{group && <Cell group={group} incidents={incidents} />}</td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const HEALTH: Record<string, string> = { page: "broken", ticket: "needs a look", notice: "worth knowing", ok: "nothing wrong", learning: "still learning" };

function Cell({ group, incidents }: { group: Group; incidents: Map<string, string> }) {
  const watched = Object.entries(group.watched).map(([name, n]) => `${count(n)} ${n === 1 ? name.replace(/s$/, "") : name}`).join(", ");
  return (
    <>
      <p class="group-head">
        <Mark state={group.health} text={HEALTH[group.health] ?? words(group.health)} />
        <span>{group.title}</span>
        <span class="quiet">{group.findings > 0 ? `${group.findings} ${group.findings === 1 ? "finding" : "findings"}` : ""}{group.findings > 0 && watched ? ", " : ""}{watched && `${watched} watched`}</span>
      </p>
      {group.worst.length > 0 && (
        <ul class="group-findings">
          {group.worst.slice(0, 3).map((finding) => (
            <li key={finding.series}>
              {finding.where.href ? <A href={finding.where.href}><Name text={finding.where.label} /></A> : <Name text={finding.where.label} />} <Name text={finding.what} />
            </li>
          ))}
        </ul>
      )}
      {group.incidents.length > 0 && (
        <p class="quiet">
          {group.incidents.length === 1 ? "incident" : "incidents"}{" "}
          {group.incidents.slice(0, 8).map((id, i) => <>{i > 0 && ", "}<A href={incidents.get(id) ?? `/incidents/${encodeURIComponent(id)}`}>{id}</A></>)}
        </p>
      )}
    </>
  );
}

function Nothing({ project }: { project: string }) {
  return (
    <div class="empty-store">
      <h1>No records yet</h1>
      <p>Nothing has been logged for the project <Name text={project} />. This page fills by itself once something is.</p>
      <pre>{`import fourfold as ff

ff.init(store="${location.origin}", project=${JSON.stringify(project)})
ff.log("predict", key="AA1", score=0.83, carrier="AA")   # when a prediction is made
ff.log("arrivals", key="AA1", late=True)                 # when its label comes
ff.task("late", prediction="predict.score", label="arrivals.late", threshold=0.5)`}</pre>
      <p class="quiet"><code>fourfold demo --serve</code> shows a year of flights in which something breaks.</p>
    </div>
  );
}
