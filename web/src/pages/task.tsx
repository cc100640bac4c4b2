import { useMemo } from "preact/hooks";
import { apiUrl, usePageApi } from "../api";
import { Chart } from "../chart/chart";
import { count, fixed, iso, length, ofMetric, share, words } from "../format";
import { Box } from "../parts/box";
import { Chips, Export, More, Range, Toggle, spanOf, useHidden } from "../parts/filters";
import { Incidents } from "../parts/incidents";
import { A, filtered, Name } from "../parts/link";
import { Head, Ready, Section } from "../parts/ready";
import { Table } from "../parts/table";
import { Time } from "../parts/time";
import { Bar, Coverage, Interval, Number_, Settled } from "../parts/value";
import { changedBy, part, set, usePlace } from "../route";
import type { Answer, ChartSpec, MetricValue, SliceRow, TaskPage } from "../types";

const TAKES = ["metric", "start", "end", "every", "by", "only", "without", "estimate"];

export function Task({ name }: { name: string }) {
  const path = `/tasks/${part(name)}`;
  const asked = usePageApi<TaskPage>(path, TAKES);
  return (
    <>
      <Head kind="Task" title={<Name text={name} />} tools={<Export url={apiUrl(path, TAKES)} />}>
        <Range window={asked.answer?.data.window} />
        <Chips />
      </Head>
      <Ready asked={asked}>{(answer) => <Shown answer={answer} name={name} />}</Ready>
    </>
  );
}

function Shown({ answer: { data, charts: given = {} }, name }: { answer: Answer<TaskPage>; name: string }) {
  const charts = useMemo(() => withRatios(given), [given]);
  const { query } = usePlace();
  const hidden = useHidden();
  const span = spanOf(data.window);
  const box = query.get("box");
  const stretch = (from: number, to: number): void => set({ box: `${iso(new Date(from))}/${iso(new Date(to))}` });
  const shared = { group: "task", span, stretch };
  const filters = query.has("only") || query.has("without");
  return (
    <>
      <p class="facts-line quiet">
        {words(data.task.kind)}, <Name text={data.task.prediction} /> joined with <Name text={data.task.label} />
        {data.task.threshold !== null && <>, positive from {fixed(data.task.threshold, 2)}</>}
        {data.task.horizon !== null && <>, labels within {length(data.task.horizon)}</>}
      </p>
      <ul class="metric-strip" aria-label="metrics">
        {shownMetrics(data).map((one) => (
          <li key={one.metric}>
            <A exact href={changedBy({ metric: one.metric })} current={one.metric === data.metric} class="metric">
              <span class="metric-name">{one.title}</span>
              <span class="metric-value"><Number_ value={one.value} /></span>
              <span class="metric-interval"><Interval value={one.value} />&nbsp;</span>
            </A>
          </li>
        ))}
        <li>
          <label class="more-metrics">
            <span class="metric-name">another</span>
            <select value="" onChange={(event) => event.currentTarget.value && set({ metric: event.currentTarget.value })}>
              <option value="">choose</option>
              {data.available.map((one) => <option key={one} value={one}>{words(one)}</option>)}
            </select>
          </label>
        </li>
      </ul>
      <div class="chart-tools">
        <Toggle name="expected" label="expected range" />
        <Toggle name="interval" label="interval" />
        {data.unsettled && <More name="estimate" label="estimate of missing labels" />}
        <span class="quiet">
          <Settled value={data.value} /> {data.value.coverage !== null && <>labels of <Coverage value={data.value.coverage} /></>}
          {data.value.n !== null && <>, {count(data.value.n)} records</>}
          {data.without_value && filters && <>; unfiltered <Number_ value={data.without_value} /></>}
        </span>
        <span class="quiet hint">drag over a stretch to see what differs there</span>
      </div>
      {charts["metric"] && <Chart spec={charts["metric"]} height={220} bare={Boolean(charts["delay"])} hidden={hidden} {...shared} />}
      {charts["volume"] && <Chart spec={charts["volume"]} height={72} bare {...shared} />}
      {charts["coverage"] && <Chart spec={charts["coverage"]} height={72} bare {...shared} />}
      {charts["delay"] && <Chart spec={charts["delay"]} height={84} {...shared} />}
      {box && <Box target={name} stretch={box} close={() => set({ box: null, box_against: null })} />}
      {data.incidents.length > 0 && <Section title="Incidents"><Incidents rows={data.incidents} /></Section>}
      {data.slices && <Slices data={data} chart={charts["slices"] && <Chart spec={charts["slices"]} height={heat(charts["slices"].option)} span={span} group="task" />} />}
      <div class="columns">
        {["reliability", "scores", "confusion"].map((one) => charts[one] && <div key={one} class="section"><Chart spec={charts[one]!} height={220} span={span} /></div>)}
      </div>
      {data.versions.length > 0 && (
        <Section title="Versions">
          <Table
            label="versions"
            rows={data.versions}
            id={(row) => String(row.version)}
            columns={[
              { head: "Version", cell: (row) => <Name text={row.version || "without a version"} /> },
              { head: data.metric, number: true, class: "fit", cell: (row) => <><Number_ value={row.value} /><Interval value={row.value} /></> },
              { head: "Records", number: true, class: "fit", cell: (row) => count(row.n) },
              { head: "First", class: "fit", cell: (row) => <Time at={row.first} /> },
              { head: "Last", class: "fit", cell: (row) => <Time at={row.last} /> },
            ]}
          />
          {charts["versions"] && <Chart spec={charts["versions"]} height={160} {...shared} />}
        </Section>
      )}
    </>
  );
}

/** The metrics that are shown always, and the one that was chosen. */
function shownMetrics(data: TaskPage): MetricValue[] {
  if (data.metrics.some((one) => one.metric === data.metric)) return data.metrics;
  return [...data.metrics, { metric: data.metric, title: words(data.metric), value: data.value }];
}

const OF_METRIC = ["metric", "slices", "versions"];

/** The charts, those of the metric with its values as ratios. */
function withRatios(charts: Record<string, ChartSpec>): Record<string, ChartSpec> {
  return Object.fromEntries(Object.entries(charts).map(([name, spec]) => [name, OF_METRIC.includes(name) ? { ...spec, unit: ofMetric(spec.unit) } : spec]));
}

function heat(option: Record<string, unknown>): number {
  const axis = option["yAxis"] as { data?: unknown[] } | { data?: unknown[] }[] | undefined;
  const rows = (Array.isArray(axis) ? axis[0] : axis)?.data?.length ?? 8;
  return Math.min(Math.max(rows * 18 + 34, 80), 420);
}

function Slices({ data, chart }: { data: TaskPage; chart: preact.ComponentChildren }) {
  const at = usePlace();
  const slices = data.slices!;
  const by = slices.by.join(", ");
  return (
    <Section
      title="Slices"
      note={slices.total > slices.rows.length ? `the worst ${slices.rows.length} of ${slices.total}` : `${slices.total}, the worst first`}
      tools={
        data.task.dimensions.length > 1 && (
          <nav class="choices" aria-label="slice by">
            {data.task.dimensions.map((names) => <A key={names.join()} exact class="choice" href={changedBy({ by: names })} current={names.join(", ") === by}><Name text={names.join(" × ")} /></A>)}
          </nav>
        )
      }
    >
      {chart}
      <Table<SliceRow>
        label="slices"
        rows={slices.rows}
        id={(row, i) => `${row.name}:${i}`}
        columns={[
          { head: by || "Slice", cell: (row) => <Name text={row.name === "" ? "(empty)" : row.name} /> },
          { head: data.metric, number: true, class: "fit", cell: (row) => <><Number_ value={row.value} /><Interval value={row.value} /></> },
          { head: "Without it", number: true, class: "fit", title: "the whole's value without this slice", cell: (row) => (row.without ? <Number_ value={row.without} /> : <span class="none">–</span>) },
          { head: "Difference", number: true, class: "fit", title: "the slice's value less the whole's", cell: (row) => (row.difference === null ? <span class="none">–</span> : <>{row.difference > 0 ? "+" : ""}{fixed(row.difference, 4)}</>) },
          { head: "Of the loss", class: "fit", title: "the share of the whole's loss that this slice carries", cell: (row) => <Bar value={row.loss_share} /> },
          { head: "Of the records", number: true, class: "fit", cell: (row) => share(row.share) },
          { head: "Records", number: true, class: "fit", cell: (row) => count(row.n) },
          {
            head: "",
            class: "fit actions",
            cell: (row) => <><A exact href={filtered(row.href_only, at)}>only this</A>{row.href_without && <A exact href={filtered(row.href_without, at)}>without this</A>}</>,
          },
        ]}
      />
    </Section>
  );
}
