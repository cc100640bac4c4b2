import { useState } from "preact/hooks";
import { apiUrl, usePageApi } from "../api";
import { count, ofMetric, short } from "../format";
import { Differences } from "../parts/box";
import { Export } from "../parts/filters";
import { A, Name } from "../parts/link";
import { Head, Ready, Section } from "../parts/ready";
import { Table } from "../parts/table";
import { Interval, Number_ } from "../parts/value";
import { set, usePlace } from "../route";
import type { ComparePage } from "../types";

const TAKES = ["a", "b", "target", "start", "end", "only", "without"];

export function Compare() {
  const { query } = usePlace();
  const [a, b] = [query.get("a") ?? "", query.get("b") ?? ""];
  const asked = usePageApi<ComparePage>("/compare", TAKES);
  const choices = usePageApi<ComparePage>(a && b ? "/compare" : null, []);
  const known = (choices.answer ?? asked.answer)?.data;
  return (
    <>
      <Head title="Compare" tools={a && b ? <Export url={apiUrl("/compare", TAKES)} /> : undefined}>
        <Ask key={`${a}|${b}`} now={[a, b]} known={known} />
      </Head>
      <Ready asked={asked}>
        {({ data, charts = {} }) =>
          data.rows ? (
            <>
              <Section title="Metrics" note={<>{short(data.a!.text, 60)}: {count(data.a!.n)} records, {short(data.b!.text, 60)}: {count(data.b!.n)}</>}>
                <Table
                  label="metrics"
                  rows={data.metrics ?? []}
                  id={(row) => row.metric}
                  empty="No task has values for both."
                  columns={[
                    { head: "Metric", cell: (row) => row.title },
                    { head: <Name text={data.a!.text} />, number: true, cell: (row) => <><Number_ value={row.a} unit={ofMetric(row.unit)} /><Interval value={row.a} unit={ofMetric(row.unit)} /></> },
                    { head: <Name text={data.b!.text} />, number: true, cell: (row) => <><Number_ value={row.b} unit={ofMetric(row.unit)} /><Interval value={row.b} unit={ofMetric(row.unit)} /></> },
                    { head: "Difference", number: true, cell: (row) => <><Number_ value={row.difference} unit={ofMetric(row.unit)} /><Interval value={row.difference} unit={ofMetric(row.unit)} /></> },
                  ]}
                />
              </Section>
              <Section title="What differs" note="the most different first">
                <Differences rows={data.rows} charts={charts} names={[short(data.a!.text, 30), short(data.b!.text, 30)]} />
              </Section>
            </>
          ) : (
            <>
              <p class="empty">Choose two windows (2024-01-01/2024-01-08), slices (carrier=AA), versions (version:v2) or streams (stream:predict).</p>
              {(data.suggested ?? []).length > 0 && (
                <Section title="For example">
                  <ul class="plain-list">
                    {data.suggested!.map(({ title, a: one, b: other }) => (
                      <li key={title}><A href={`/compare?${new URLSearchParams({ a: one, b: other })}`}><Name text={title} /></A></li>
                    ))}
                  </ul>
                </Section>
              )}
            </>
          )
        }
      </Ready>
    </>
  );
}

function Ask({ now, known }: { now: [string, string]; known: ComparePage | undefined }) {
  const [a, setA] = useState(now[0]);
  const [b, setB] = useState(now[1]);
  const named = (kind: string, names: readonly string[] = []): string[] => names.map((name) => `${kind}:${name}`);
  const listed = [...(known?.slices ?? []), ...named("version", known?.versions), ...named("stream", known?.streams)].slice(0, 500);
  return (
    <form
      class="ask"
      onSubmit={(event) => {
        event.preventDefault();
        if (a && b) set({ a, b });
      }}
    >
      <label>Of <input list="comparable" value={a} onInput={(event) => setA(event.currentTarget.value)} placeholder="carrier=AA" size={34} autocomplete="off" spellcheck={false} /></label>
      <label>and <input list="comparable" value={b} onInput={(event) => setB(event.currentTarget.value)} placeholder="carrier=UA" size={34} autocomplete="off" spellcheck={false} /></label>
      <datalist id="comparable">{listed.map((one) => <option key={one} value={one} />)}</datalist>
      <button type="submit">Compare</button>
      <button type="button" class="plain" onClick={() => set({ a: b, b: a })} disabled={!a || !b}>Swap</button>
    </form>
  );
}
