import { useState } from "preact/hooks";
import { apiUrl, usePageApi } from "../api";
import { count, ofMetric } from "../format";
import { Differences } from "../parts/box";
import { Between, Chips, Export, Range } from "../parts/filters";
import { A, Name } from "../parts/link";
import { Head, Ready, Section } from "../parts/ready";
import { Table } from "../parts/table";
import { Interval, Number_ } from "../parts/value";
import { set, usePlace } from "../route";
import type { ComparePage, Side, Value } from "../types";

const TAKES = ["a", "b", "target", "start", "end", "only", "without"];

export function Compare() {
  const { query } = usePlace();
  const [a, b] = [query.get("a") ?? "", query.get("b") ?? ""];
  const both = a !== "" && b !== "";
  const asked = usePageApi<ComparePage>("/compare", TAKES);
  const choices = usePageApi<ComparePage>(both ? "/compare" : null, ["target"]);
  const known = (both ? choices : asked).answer?.data;
  const shown = asked.answer?.data;
  return (
    <>
      <Head title="Compare" tools={both ? <Export url={apiUrl("/compare", TAKES)} /> : undefined}>
        <Ask key={`${a}|${b}`} now={[a, b]} target={query.get("target") ?? shown?.target ?? ""} known={known} />
        {both && !(isWindow(a) && isWindow(b)) && <Range window={shown?.a?.window && shown.window} />}
        <Chips />
      </Head>
      <Ready asked={asked}>
        {({ data, charts = {} }) =>
          data.a && data.b ? (
            <>
              <Section title={data.target ? <>Metrics of <Name text={data.target} /></> : "Metrics"}>
                <Table
                  label="metrics"
                  rows={data.metrics ?? []}
                  id={(row) => row.metric}
                  empty={isStream(a) ? "Streams are compared column by column." : "No task declares these as its slices."}
                  columns={[
                    { head: "Metric", cell: (row) => row.title },
                    { head: <Told side={data.a!} />, number: true, cell: (row) => <Both value={row.a} unit={row.unit} /> },
                    { head: <Told side={data.b!} />, number: true, cell: (row) => <Both value={row.b} unit={row.unit} /> },
                    { head: "Difference", number: true, cell: (row) => <Both value={row.difference} unit={row.unit} /> },
                  ]}
                />
              </Section>
              <Section title="What differs" note="the most different first">
                <Differences rows={data.rows ?? []} charts={charts} names={[<Told side={data.a} />, <Told side={data.b} />]} />
              </Section>
            </>
          ) : (
            <>
              <p class="empty">Choose two windows (2024-01-01/2024-01-08), slices (carrier=AA), versions (version:v2) or streams (stream:predict).</p>
              {(data.suggested ?? []).length > 0 && (
                <Section title="For example">
                  <ul class="plain-list">
                    {data.suggested!.map(({ title, target, a: one, b: other }) => (
                      <li key={`${target}:${title}`}><A href={`/compare?${new URLSearchParams({ target, a: one, b: other })}`}><Name text={target} />: <Name text={title} /></A></li>
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

const isStream = (text: string): boolean => text.startsWith("stream:");
const isWindow = (text: string): boolean => !isStream(text) && !text.startsWith("version:") && !text.includes("=");

/** A side's name, or from when to when it is, and its number of records. */
function Told({ side }: { side: Side }) {
  const name = isWindow(side.text) ? <Between window={side.window} /> : <Name text={side.text} />;
  return (
    <>
      {side.href ? <A href={side.href}>{name}</A> : name}
      <span class="sub">{count(side.n)} records{!side.window && ", of all times"}</span>
    </>
  );
}

function Both({ value, unit }: { value: Value | null; unit: string }) {
  return <><Number_ value={value} unit={ofMetric(unit)} /><Interval value={value} unit={ofMetric(unit)} /></>;
}

function Ask({ now, target, known }: { now: [string, string]; target: string; known: ComparePage | undefined }) {
  const [a, setA] = useState(now[0]);
  const [b, setB] = useState(now[1]);
  const named = (kind: string, names: readonly string[] = []): string[] => names.map((name) => `${kind}:${name}`);
  const listed = [...(known?.slices ?? []), ...named("version", known?.versions), ...named("stream", known?.streams)].slice(0, 500);
  const tasks = known?.tasks ?? [];
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
      {tasks.length > 1 && !now.some(isStream) && (
        <label>
          by the task{" "}
          <select value={target} onChange={(event) => set({ target: event.currentTarget.value || null })}>
            <option value="">that declares them</option>
            {tasks.map((name) => <option key={name} value={name}>{name.slice(0, 60)}</option>)}
          </select>
        </label>
      )}
      <button type="submit">Compare</button>
      <button type="button" class="plain" onClick={() => set({ a: b, b: a })} disabled={!a || !b}>Swap</button>
    </form>
  );
}
