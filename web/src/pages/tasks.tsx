import { usePageApi } from "../api";
import { words } from "../format";
import { Small } from "../chart/chart";
import { A, Name } from "../parts/link";
import { Head, Ready } from "../parts/ready";
import { Pages, Table } from "../parts/table";
import { Coverage, Interval, Number_ } from "../parts/value";
import type { TaskList } from "../types";

const LIMIT = 50;

export function Tasks() {
  const asked = usePageApi<TaskList>("/tasks", ["offset", "order"], { limit: String(LIMIT) });
  return (
    <>
      <Head title="Tasks" />
      <Ready asked={asked}>
        {({ data, charts = {} }) => (
          <>
            <Table
              label="tasks"
              rows={data.tasks.flatMap((task) => task.metrics.map((metric, i) => ({ task, metric, first: i === 0 })))}
              id={(row) => `${row.task.name}:${row.metric.metric}`}
              tone={(row) => (row.first ? "row-first" : "row-more")}
              empty={<>No task is declared: <code>ff.task(…)</code>, or a section <code>[task.NAME]</code> of fourfold.toml, joins predictions with labels.</>}
              columns={[
                { head: "Task", order: "name", cell: (row) => row.first && <A href={row.task.href}><Name text={row.task.name} /></A> },
                { head: "Kind", order: "kind", class: "fit quiet", cell: (row) => row.first && words(row.task.kind) },
                { head: "Prediction", class: "quiet", cell: (row) => row.first && <Name text={row.task.prediction} /> },
                { head: "Label", class: "quiet", cell: (row) => row.first && <Name text={row.task.label} /> },
                { head: "Metric", class: "fit", cell: (row) => <A href={`${row.task.href}?metric=${encodeURIComponent(row.metric.metric)}`}>{row.metric.title}</A> },
                { head: "Value", number: true, class: "fit", cell: (row) => <><Number_ value={row.metric.value} /><Interval value={row.metric.value} /></> },
                { head: "Labels", number: true, class: "fit", cell: (row) => <Coverage value={row.metric.value.coverage} /> },
                { head: "Trend", class: "fit", cell: (row) => row.first && row.task.chart && charts[row.task.chart] && <Small spec={charts[row.task.chart]!} /> },
              ]}
            />
            <Pages total={data.total} shown={data.tasks.length} limit={LIMIT} />
          </>
        )}
      </Ready>
    </>
  );
}
