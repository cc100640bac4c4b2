import { apiUrl, usePageApi } from "../api";
import { Chart } from "../chart/chart";
import { count, iso, share, words } from "../format";
import { Box } from "../parts/box";
import { Chips, Export, Range, Toggle, spanOf, useHidden } from "../parts/filters";
import { Incidents } from "../parts/incidents";
import { A, Name } from "../parts/link";
import { Head, Ready, Section } from "../parts/ready";
import { Table } from "../parts/table";
import { Time } from "../parts/time";
import { Interval, Number_ } from "../parts/value";
import { part, set, usePlace } from "../route";
import type { Answer, ColumnPage } from "../types";

const TAKES = ["start", "end", "every", "against", "only", "without", "metric"];

const MOST = 15; // frequent values

export function Column({ stream, column }: { stream: string; column: string }) {
  const path = `/columns/${part(stream)}/${part(column)}`;
  const asked = usePageApi<ColumnPage>(path, TAKES);
  return (
    <>
      <Head
        kind="Column"
        title={<><A href={`/streams/${part(stream)}`}><Name text={stream} /></A>.<Name text={column} /></>}
        tools={<Export url={apiUrl(path, TAKES)} />}
      >
        <Range window={asked.answer?.data.window} />
        <Chips />
      </Head>
      <Ready asked={asked}>{(answer) => <Shown answer={answer} target={`${stream}.${column}`} />}</Ready>
    </>
  );
}

function Shown({ answer: { data, charts = {} }, target }: { answer: Answer<ColumnPage>; target: string }) {
  const { query } = usePlace();
  const hidden = useHidden();
  const span = spanOf(data.window);
  const box = query.get("box");
  const stretch = (from: number, to: number): void => set({ box: `${iso(new Date(from))}/${iso(new Date(to))}` });
  const shared = { group: "column", span, stretch, hidden };
  return (
    <>
      {data.always && (
        <p class={`advice ${data.always.broken_since ? "advice-broken" : ""}`}>
          <strong>Just now, or always?</strong> <Name text={data.always.words} />
          {data.always.broken_since && <> Since <Time at={data.always.broken_since} />.</>}
        </p>
      )}
      <div class="chart-tools">
        <Toggle name="expected" label="expected range" />
        <span class="quiet">{words(data.kind)}; now: <Time at={data.now.start} /> to <Time at={data.now.end} />{data.against && <>, then: <Time at={data.against.start} /> to <Time at={data.against.end} /></>}</span>
        <span class="quiet hint">drag over a stretch to see what differs there</span>
      </div>
      {["quantiles", "missing", "mean", "rows"].map((name) => charts[name] && <Chart key={name} spec={charts[name]!} height={name === "quantiles" ? 210 : 96} {...shared} />)}
      {charts["categories"] && <Chart spec={charts["categories"]} height={240} span={span} group="column" />}
      {box && <Box target={target} stretch={box} close={() => set({ box: null, box_against: null })} />}
      {data.incidents.length > 0 && <Section title="Incidents"><Incidents rows={data.incidents} /></Section>}
      <div class="columns">
        <Section title="Distribution" note="now and then">
          {charts["distribution"] ? <Chart spec={charts["distribution"]} height={220} /> : <p class="empty">No values to count.</p>}
        </Section>
        <Section title="Values">
          <Table
            label="values"
            rows={data.values}
            id={(row) => row.metric}
            columns={[
              { head: "Metric", cell: (row) => words(row.title) },
              { head: "Now", number: true, cell: (row) => <><Number_ value={row.now} unit={row.unit} /><Interval value={row.now} unit={row.unit} /></> },
              { head: "Then", number: true, cell: (row) => <><Number_ value={row.then} unit={row.unit} /><Interval value={row.then} unit={row.unit} /></> },
            ]}
          />
          {Object.keys(data.distance ?? {}).length > 0 && (
            <Table
              label="distances"
              rows={Object.entries(data.distance)}
              id={([name]) => name}
              columns={[
                { head: "Distance", cell: ([, value]) => words(value.title) },
                { head: "Now against then", number: true, cell: ([, value]) => <Number_ value={value} /> },
              ]}
            />
          )}
        </Section>
        {data.frequent.length > 0 && (
          <Section title="Most frequent" note={data.frequent.length > MOST ? `${MOST} of ${data.frequent.length}` : undefined}>
            <Table
              label="frequent values"
              rows={data.frequent.slice(0, MOST)}
              id={(row, i) => `${row.value}:${i}`}
              columns={[
                { head: "Value", cell: (row) => <Name text={row.value ?? "null"} /> },
                { head: "Now", number: true, class: "fit", cell: (row) => share(row.now) },
                { head: "Then", number: true, class: "fit", cell: (row) => share(row.then) },
              ]}
            />
          </Section>
        )}
        {(data.new_categories.length > 0 || data.gone_categories.length > 0) && (
          <Section title="New and gone">
            <Table
              label="new and gone categories"
              rows={[...data.new_categories.map((row) => ({ ...row, at: row.first, what: "new" })), ...data.gone_categories.map((row) => ({ ...row, share: null, at: row.last, what: "gone" }))]}
              id={(row, i) => `${row.what}:${i}`}
              columns={[
                { head: "", class: "fit quiet", cell: (row) => row.what },
                { head: "Value", cell: (row) => <Name text={row.value ?? "null"} /> },
                { head: "First, last", class: "fit", cell: (row) => <Time at={row.at} /> },
                { head: "Records", number: true, class: "fit", cell: (row) => count(row.n) },
                { head: "Share", number: true, class: "fit", cell: (row) => share(row.share) },
              ]}
            />
          </Section>
        )}
      </div>
    </>
  );
}
