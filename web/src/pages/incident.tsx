import { useState } from "preact/hooks";
import { Failure, send, useApi } from "../api";
import { Small } from "../chart/chart";
import { iso, number, words } from "../format";
import { Mark } from "../parts/mark";
import { A, Name, Outside } from "../parts/link";
import { Menu } from "../parts/menu";
import { Head, Ready, Section } from "../parts/ready";
import { Table } from "../parts/table";
import { Onset, Time } from "../parts/time";
import { usePlace } from "../route";
import type { ChartSpec, Finding, IncidentPage, Where } from "../types";
import { useWho } from "../who";

export function Incident({ id }: { id: string }) {
  const project = usePlace().query.get("project");
  const url = `/api/incidents/${encodeURIComponent(id)}`;
  const suffix = project ? `?project=${encodeURIComponent(project)}` : "";
  const asked = useApi<IncidentPage>(url + suffix);
  return (
    <Ready asked={asked}>
      {({ data, charts = {} }) => (
        <>
          <Card data={data} act={(action, body) => send("POST", `${url}/${action}${suffix}`, body).then(asked.again)} />
          {data.causes.length > 0 && <Section title="Likely causes">{null}</Section>}
          <Section title="Findings" note={`${data.findings.length}, in the order in which they began, along the lineage`}>
            <Findings rows={data.findings} charts={charts} />
          </Section>
          <div class="columns">
            <Section title="Time line">
              <ol class="time-line">
                {told(data.time_line).map((entry, i) => (
                  <li key={i}><Time at={entry.at} /> <span class={`dot dot-${entry.kind}`} aria-hidden="true" /> <span><Name text={entry.what} /> <Place where={entry.where} /></span></li>
                ))}
              </ol>
            </Section>
            <Section title="Where to look">
              <dl class="facts facts-tall">
                {data.box && <><dt>What differs</dt><dd><A href={data.box}>since it began, ranked</A></dd></>}
                {data.tasks.map((one) => <><dt>Task</dt><dd><A href={one.href}><Name text={one.name} /></A></dd></>)}
                {data.objectives.map((one) => <><dt>Objective</dt><dd><Name text={one.name} /> <span class="quiet"><Name text={one.expression} /></span></dd></>)}
                {data.example && <><dt>Example record</dt><dd><A href={data.example.href}><Name text={data.example.key} /></A> <span class="quiet">its path through the pipeline</span></dd></>}
                <dt>Pipeline</dt><dd><A href="/pipeline">what changed, what is worse, what is touched</A></dd>
                {data.incident.where.component && <><dt>Runs</dt><dd><A href={`/runs?component=${encodeURIComponent(data.incident.where.component)}`}>of <Name text={data.incident.where.component} /></A></dd></>}
              </dl>
            </Section>
          </div>
        </>
      )}
    </Ready>
  );
}

type Entry = IncidentPage["time_line"][number];

/** What happened, with findings of one moment as one entry: the table above has them all. */
function told(entries: readonly Entry[]): Entry[] {
  const found: Entry[] = [];
  for (const entry of entries) {
    const last = found[found.length - 1];
    if (entry.kind !== "finding") found.push(entry.kind === "onset" ? { ...entry, what: "it began in", where: entry.where } : entry);
    else if (last?.kind === "findings" && last.at === entry.at) found[found.length - 1] = several(last.at, Number.parseInt(last.what, 10) + 1);
    else if (last?.kind === "finding" && last.at === entry.at) found[found.length - 1] = several(last.at, 2);
    else found.push(entry);
  }
  return found;
}

function several(at: string, n: number): Entry {
  return { at, what: `${n} findings begin`, kind: "findings", where: null };
}

function Place({ where }: { where: Where | string | null }) {
  if (!where) return null;
  if (typeof where === "string") return <span class="quiet"><Name text={where} /></span>;
  return where.href ? <A href={where.href}><Name text={where.label} /></A> : <Name text={where.label} />;
}

type Act = (action: string, body: { reason?: string; until?: string }) => Promise<void>;

function Card({ data, act }: { data: IncidentPage; act: Act }) {
  const row = data.incident;
  const ended = row.state === "resolved" || row.state === "dismissed";
  return (
    <>
      <Head
        kind={<>Incident {row.id}</>}
        title={<Name text={row.title} />}
        tools={<Actions actions={data.actions} act={act} />}
      />
      <dl class={`facts card ${!ended && row.severity === "page" ? "card-broken" : ""}`}>
        <dt>State</dt>
        <dd>{words(row.state)}{row.until && row.state === "snoozed" && <> until <Time at={row.until} /></>}{row.confirmed && ", confirmed"}{row.reopened > 0 && `, reopened ${row.reopened} ${row.reopened === 1 ? "time" : "times"}`}</dd>
        <dt>How bad</dt>
        <dd><Mark state={ended ? "ended" : row.severity} text={row.severity} /> <span class="quiet">{row.group}</span></dd>
        <dt>Since</dt>
        <dd><Onset at={row.began} low={row.began_low} high={row.began_high} words /></dd>
        <dt>Began in</dt>
        <dd><strong>{row.where.href ? <A href={row.where.href}><Name text={row.where.label} /></A> : <Name text={row.where.label} />}</strong></dd>
        <dt>Objectives</dt>
        <dd>{row.objectives.length ? row.objectives.map((name, i) => <>{i > 0 && ", "}<Name text={name} /></>) : <span class="quiet">none is touched</span>}</dd>
        <dt>Told</dt>
        <dd>opened <Time at={row.opened} />{row.resolved && <>, resolved <Time at={row.resolved} /></>}</dd>
        <dt>Owner</dt>
        <dd>{row.owner ? <Name text={row.owner} /> : <span class="quiet">nobody is named</span>}</dd>
        <dt>Runbook</dt>
        <dd>{row.runbook ? <Outside href={row.runbook} /> : <span class="quiet">none</span>}</dd>
        {row.reason && <><dt>Reason</dt><dd><Name text={row.reason} /></dd></>}
      </dl>
      <Advice findings={data.findings} />
    </>
  );
}

function Advice({ findings }: { findings: readonly Finding[] }) {
  const said = [...new Set(findings.map((finding) => finding.advice).filter(Boolean))].slice(0, 3);
  return said.length ? <p class="advice"><strong>What now</strong> {said.map((text) => <><Name text={text} /> </>)}</p> : null;
}

const NAMES: Record<string, string> = { acknowledge: "Acknowledge", snooze: "Snooze", confirm: "Confirm", dismiss: "Dismiss", resolve: "Resolve" };

function Actions({ actions, act }: { actions: readonly string[]; act: Act }) {
  const who = useWho();
  const [failure, setFailure] = useState("");
  if (who && who.role !== "admin") return <span class="quiet">to acknowledge or dismiss, sign in with an admin's token</span>;
  const run: Act = async (action, body) => {
    setFailure("");
    await act(action, body).catch((error: unknown) => setFailure(error instanceof Failure ? error.message : String(error)));
  };
  return (
    <>
      {Object.keys(NAMES).filter((action) => actions.includes(action)).map((action) => action === "acknowledge"
        ? <button key={action} type="button" class="main" onClick={() => void run(action, {})}>{NAMES[action]}</button>
        : <Menu key={action} wide label={NAMES[action] ?? words(action)}><Why action={action} run={run} /></Menu>)}
      {failure && <span class="mistake" role="alert">{failure}</span>}
    </>
  );
}

const HINTS: Record<string, string> = {
  dismiss: "Why is it no fault? It teaches what not to tell again.",
  confirm: "What was it? It teaches that such a thing is real.",
  resolve: "What has mended it? If it goes on, it is opened again.",
};

function Why({ action, run }: { action: string; run: Act }) {
  const [reason, setReason] = useState("");
  const [until, setUntil] = useState("4h");
  const [at, setAt] = useState("");
  return (
    <form
      class="why"
      onSubmit={(event) => {
        event.preventDefault();
        const moment = new Date(at);
        const chosen = until !== "at" ? until : Number.isNaN(moment.getTime()) ? "" : iso(moment);
        void run(action, action === "snooze" ? { reason, until: chosen } : { reason });
        event.currentTarget.closest("details")?.removeAttribute("open");
      }}
    >
      {action === "snooze" && (
        <label>For{" "}
          <select value={until} onChange={(event) => setUntil(event.currentTarget.value)}>
            {[["1h", "1 hour"], ["4h", "4 hours"], ["1d", "a day"], ["7d", "a week"], ["at", "until …"]].map(([value, name]) => <option key={value} value={value}>{name}</option>)}
          </select>
        </label>
      )}
      {action === "snooze" && until === "at" && <label>Until <input type="datetime-local" required value={at} onInput={(event) => setAt(event.currentTarget.value)} /></label>}
      <label>{HINTS[action] ?? "Reason"}<textarea rows={2} maxLength={2000} required={action !== "snooze"} value={reason} onInput={(event) => setReason(event.currentTarget.value)} /></label>
      {action === "snooze" && <p class="quiet">It comes back earlier if it gets worse.</p>}
      <button type="submit" class="main">{NAMES[action] ?? words(action)}</button>
    </form>
  );
}

function Findings({ rows, charts }: { rows: readonly Finding[]; charts: Record<string, ChartSpec> }) {
  const least = Math.min(...rows.map((row) => row.depth ?? 0));
  return (
    <Table
      label="findings"
      rows={rows}
      id={(row, i) => `${row.series}:${i}`}
      empty="It has no findings any more."
      columns={[
        { head: "Began", class: "fit", cell: (row) => <Onset at={row.began} low={row.began_low} high={row.began_high} /> },
        { head: "Where", cell: (row) => <span class={`depth depth-${Math.min((row.depth ?? 0) - least, 6)}`}>{row.where.href ? <A href={row.where.href}><Name text={row.where.label} /></A> : <Name text={row.where.label} />}</span> },
        { head: "What", class: "wide rest", cell: (row) => <Name text={row.what} /> },
        { head: "Value", number: true, class: "fit", cell: (row) => number(row.value) },
        { head: "Expected", number: true, class: "fit", cell: (row: Finding) => expected(row) },
        { head: "Records", number: true, class: "fit", cell: (row) => number(row.n) },
        { head: "Over time", class: "fit", cell: (row) => row.chart && charts[row.chart] ? <Small spec={charts[row.chart]!} width={180} height={36} /> : <span class="quiet">{row.undrawn}</span> },
      ]}
    />
  );
}

function expected(row: Finding): string {
  if (row.low !== null && row.high !== null) return `${number(row.low)} to ${number(row.high)}`;
  if (row.high !== null) return `≤ ${number(row.high)}`;
  if (row.low !== null) return `≥ ${number(row.low)}`;
  return number(row.expected);
}
