import { apiUrl, usePageApi } from "../api";
import { Chart } from "../chart/chart";
import { count, iso, length, number, share } from "../format";
import { Box } from "../parts/box";
import { Chips, Export, Range } from "../parts/filters";
import { Incidents } from "../parts/incidents";
import { A, Name } from "../parts/link";
import { Head, Ready, Section } from "../parts/ready";
import { Pages, Table } from "../parts/table";
import { Time } from "../parts/time";
import { part, set, usePlace } from "../route";
import type { ColumnRow, StreamList, StreamPage } from "../types";

const TAKES = ["order", "offset", "start", "end", "every"];
const LIMIT = 200;

export function Stream({ name }: { name: string }) {
  const { query } = usePlace();
  const path = `/streams/${part(name)}`;
  const asked = usePageApi<StreamPage>(path, TAKES, { limit: String(LIMIT) });
  const box = query.get("box");
  return (
    <>
      <Head kind="Stream" title={<Name text={name} />} tools={<Export url={apiUrl(path, TAKES)} />}>
        <Range window={asked.answer?.data.window} />
        <Chips />
      </Head>
      <Ready asked={asked}>
        {({ data, charts = {} }) => (
          <>
            <p class="facts-line quiet">
              {count(data.stream.rows)} rows
              {data.stream.first_day && <>, <Time at={data.stream.first_day} /> to <Time at={data.stream.last_day} /></>}
              {data.stream.key && <>, keyed by <Name text={data.stream.key} /></>}
              {data.stream.component && <>, of <A href={`/runs?component=${encodeURIComponent(data.stream.component)}`}><Name text={data.stream.component} /></A></>}
              {data.stream.retention !== null && data.stream.retention !== undefined && <>, kept for {length(data.stream.retention)}</>}
            </p>
            {charts["rows"] && <Chart spec={charts["rows"]} height={110} stretch={(from, to) => set({ box: `${iso(new Date(from))}/${iso(new Date(to))}` })} />}
            {box && <Box target={name} stretch={box} close={() => set({ box: null, box_against: null })} />}
            {data.incidents.length > 0 && <Section title="Incidents"><Incidents rows={data.incidents} /></Section>}
            <Section title="Columns" note={count(data.columns_total)}>
              <Table<ColumnRow>
                label="columns"
                rows={data.columns}
                id={(row, i) => `${row.name}:${i}`}
                empty="No column has been counted yet."
                columns={[
                  { head: "Column", order: "name", cell: (row) => <A href={row.href}><Name text={row.name} /></A> },
                  { head: "Kind", class: "fit quiet", cell: (row) => row.kind },
                  { head: "Missing", number: true, order: "missing", class: "fit", cell: (row) => share(row.missing) },
                  { head: "Mean", number: true, class: "fit", cell: (row) => number(row.mean) },
                  { head: "Median", number: true, class: "fit", cell: (row) => number(row.median) },
                  { head: "Least", number: true, class: "fit", cell: (row) => number(row.min) },
                  { head: "Largest", number: true, class: "fit", cell: (row) => number(row.max) },
                  { head: "Distinct", number: true, order: "distinct", class: "fit", cell: (row) => count(row.distinct) },
                  { head: "Most frequent", class: "wide", cell: (row) => <span class="frequent">{row.frequent.slice(0, 4).map(([value, part], i) => <>{i > 0 && ", "}<Name text={String(value)} /> <span class="quiet">{share(part)}</span></>)}</span> },
                ]}
              />
              <Pages total={data.columns_total} shown={data.columns.length} limit={LIMIT} />
            </Section>
          </>
        )}
      </Ready>
    </>
  );
}

/** All streams. */
export function Streams() {
  const asked = usePageApi<StreamList>("/streams", ["order", "offset"], { limit: String(LIMIT) });
  return (
    <>
      <Head title="Streams" />
      <Ready asked={asked}>
        {({ data }) => (
          <>
            <Table
              label="streams"
              rows={data.streams}
              id={(row) => row.name}
              empty="Nothing has been logged yet."
              columns={[
                { head: "Stream", order: "name", cell: (row) => <A href={row.href}><Name text={row.name} /></A> },
                { head: "Component", order: "component", cell: (row) => row.component && <A href={`/runs?component=${encodeURIComponent(row.component)}`}><Name text={row.component} /></A> },
                { head: "Key", class: "quiet", cell: (row) => row.key && <Name text={row.key} /> },
                { head: "Columns", number: true, order: "columns", class: "fit", cell: (row) => count(row.columns) },
                { head: "First", order: "first", class: "fit", cell: (row) => <Time at={row.first} /> },
                { head: "Last", order: "last", class: "fit", cell: (row) => <Time at={row.last} /> },
                { head: "Open findings", number: true, order: "findings", class: "fit", cell: (row) => (row.findings ? count(row.findings) : <span class="none">–</span>) },
              ]}
            />
            <Pages total={data.total} shown={data.streams.length} limit={LIMIT} />
          </>
        )}
      </Ready>
    </>
  );
}
