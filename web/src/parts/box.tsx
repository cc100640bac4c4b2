// What differs between a stretch that was dragged over, or a group, and the rest: ranked, each with two small distributions.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { useApi } from "../api";
import { Small } from "../chart/chart";
import { count, fixed, length, words } from "../format";
import { changedBy, set, usePlace, type Place } from "../route";
import type { BoxPage, BoxRow, ChartSpec } from "../types";
import { A, Name } from "./link";
import { Ready, Section } from "./ready";
import { Export } from "./filters";
import { Table, type Column } from "./table";
import { Time } from "./time";

const [FEW, MANY] = [20, 500];

/** The ranked list of a stretch of a target: a task, a stream, or a column as "stream.column". */
export function Box({ target, stretch, close }: { target: string; stretch: string; close?: () => void }) {
  const { query } = usePlace();
  const [start = "", end = ""] = stretch.split("/");
  const asked = new URLSearchParams({ target, start, end });
  for (const name of ["project", "only", "without"]) for (const value of query.getAll(name)) asked.append(name, value);
  const against = query.get("box_against") ?? "before";
  asked.set("against", against);
  const [limit, setLimit] = useState(FEW);
  const url = `/api/box?${asked}`;
  const found = useApi<BoxPage>(`${url}&limit=${limit}`);
  const known = ["rest", "before"].includes(against);
  return (
    <Section
      id="box"
      title="What differs here"
      note={<>inside <Time at={start} /> to <Time at={end} /></>}
      tools={
        <>
          <label>against{" "}
            <select value={against} onChange={(event) => set({ box_against: event.currentTarget.value })}>
              <option value="before">the weeks before</option>
              <option value="rest">the rest of the chart's time</option>
              {!known && <option value={against}>{against}</option>}
            </select>
          </label>
          <Export url={url} />
          {close && <button type="button" onClick={close}>Close</button>}
        </>
      }
    >
      <Ready asked={found}>
        {({ data, charts }) => (
          <>
            {data.reason && data.rows.length > 0 && <p class="note"><Name text={data.reason} /></p>}
            <Differences rows={data.rows} charts={charts ?? {}} names={["inside", "baseline"]} empty={data.reason} />
            {data.total > data.rows.length && <button type="button" onClick={() => setLimit(MANY)}>Show {Math.min(data.total, MANY)} of {data.total}</button>}
            <p class="note">
              {count(data.n.inside)} records from <Time at={data.window.inside.start} /> to <Time at={data.window.inside.end} />, compared
              with {count(data.n.baseline)} from <Time at={data.window.baseline.start} /> to <Time at={data.window.baseline.end} />: {count(data.total)} in {length(data.took)}.
              Ranked by how far the effect, from 0 (the same) to 1 (nothing in common), is beyond what is usual from one such stretch to the next;
              more data narrow its interval, but do not raise it.
            </p>
          </>
        )}
      </Ready>
    </Section>
  );
}

export function Differences({ rows, charts, names, empty }: { rows: readonly BoxRow[]; charts: Record<string, ChartSpec>; names: [ComponentChildren, ComponentChildren]; empty?: string }) {
  const at = usePlace();
  const columns: Column<BoxRow>[] = [
    { head: "", class: "fit quiet", cell: (row) => words(row.kind) },
    {
      head: "What",
      cell: (row) => {
        const place = row.kind === "column" ? `${row.stream}.${row.column}` : row.name;
        const name = <Name text={row.value === null || row.value === undefined ? place : `${row.name} = ${row.value}`} />;
        return (
          <>
            {row.href ? <A href={row.href}>{name}</A> : name}
            {row.also[0] && <span class="sub" title={row.also.map((one) => one.stream).join(", ").slice(0, 500)}>also in <A href={row.also[0].href}><Name text={row.also[0].stream} /></A>{row.also.length > 1 && ` and ${row.also.length - 1} more`}</span>}
          </>
        );
      },
    },
    { head: "Effect", number: true, class: "fit", title: "0: the same, 1: nothing in common", cell: (row) => <><span class="quiet">{row.presence || (row.size === "none" ? "as usual" : row.size)}</span> {fixed(row.effect, 2)}{row.low !== null && row.high !== null && <span class="interval-text">{fixed(row.low, 2)}–{fixed(row.high, 2)}</span>}</> },
    { head: names[0], class: "wide", cell: (row) => <Name text={row.inside.words} /> },
    { head: names[1], class: "wide", cell: (row) => <Name text={row.baseline.words} /> },
    { head: "Distributions", class: "fit", cell: (row) => (row.chart && charts[row.chart] ? <Small spec={charts[row.chart]!} width={160} /> : null) },
    {
      head: "",
      class: "fit actions",
      cell: (row) => (
        <>
          {row.only && <A exact href={with_("only", row.only, at)}>only this</A>}
          {row.without && <A exact href={with_("without", row.without, at)}>without this</A>}
        </>
      ),
    },
  ];
  return <Table label="differences" rows={rows} columns={columns} id={(row, i) => `${row.kind}:${row.stream}:${row.column}:${row.name}:${row.value}:${i}`} empty={empty || "Nothing differs by more than chance."} />;
}

/** This address with one more filter. */
function with_(kind: "only" | "without", filter: string, at: Place): string {
  return changedBy({ [kind]: [...new Set([...at.query.getAll(kind), filter])] }, at);
}
