import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { usePageApi } from "../api";
import { count, length, words } from "../format";
import { arranged, type Placed } from "../graph";
import { A, Name } from "../parts/link";
import { Mark, toneOf } from "../parts/mark";
import { Head, Ready, Section } from "../parts/ready";
import { Table } from "../parts/table";
import { Ago, Time } from "../parts/time";
import type { Pipeline as Data, PipelineNode } from "../types";

export function Pipeline() {
  const asked = usePageApi<Data>("/pipeline");
  return (
    <>
      <Head title="Pipeline"><Marks /></Head>
      <Ready asked={asked}>
        {({ data }) =>
          data.nodes.length === 0 ? (
            <p class="empty">No component has run and nothing was logged yet: <code>@ff.component</code> on a function puts it here.</p>
          ) : (
            <>
              {data.total > data.nodes.length && <p class="note">{count(data.nodes.length)} of {count(data.total)} parts: those first that something is wrong with, each with what feeds it and what it feeds. The others are found by a search.</p>}
              <Graph data={data} />
              <Section title="Components"><Components nodes={data.nodes.filter((node) => node.type === "component")} /></Section>
            </>
          )
        }
      </Ready>
    </>
  );
}

function Marks() {
  return (
    <ul class="legend legend-marks" aria-label="marks">
      <li><i class="pmark pmark-changed">◆</i> changed here: code, parameters, versions, a failed run</li>
      <li><i class="pmark pmark-worse">▼</i> worse here: an objective</li>
      <li><i class="pmark pmark-touched">○</i> touched: downstream of either</li>
    </ul>
  );
}

function Graph({ data }: { data: Data }) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(1000);
  useLayoutEffect(() => {
    const watch = new ResizeObserver(([entry]) => entry && setWidth(Math.max(entry.contentRect.width, 320)));
    if (box.current) watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const { nodes, edges, height, width: wide } = arranged(data.nodes, data.edges, width);
  return (
    <div ref={box} class="graph-box">
      <div class="graph" style={{ width: `${wide}px`, height: `${height}px` }}>
        <svg class="graph-edges" width={wide} height={height} aria-hidden="true">
          {edges.map((edge, i) => <path key={i} class={edge.touched ? "edge edge-touched" : "edge"} d={edge.path} />)}
        </svg>
        {nodes.map((placed) => <Node key={placed.node.id} placed={placed} />)}
      </div>
    </div>
  );
}

function Node({ placed: { node, x, y, width, height } }: { placed: Placed }) {
  return (
    <div class={`node node-${node.type} node-${toneOf(node.state ?? "")}`} style={{ left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` }}>
      <p class="node-name"><A href={node.href}><Name text={node.name} /></A></p>
      {node.type === "component" ? (
        <p class="quiet node-facts">{node.state && node.state !== "succeeded" ? <Mark state={node.state} /> : null} {length(node.duration)}, <Ago at={node.last_run} /></p>
      ) : (
        <p class="quiet node-facts">{node.type}{node.findings > 0 && <>, <Found node={node} /></>}</p>
      )}
      <NodeMarks node={node} />
    </div>
  );
}

function NodeMarks({ node }: { node: PipelineNode }) {
  const { changed, worse, touched } = node.marks;
  if (!changed.length && !worse.length && !touched.length && !node.findings) return null;
  const say = (texts: string[]): string => texts.slice(0, 6).join("; ").slice(0, 400);
  return (
    <p class="node-marks">
      {changed.length > 0 && <span title={say(changed.map((one) => one.what))}><i class="pmark pmark-changed">◆</i> changed</span>}
      {worse.length > 0 && <span title={say(worse.map((one) => one.what))}><i class="pmark pmark-worse">▼</i> worse</span>}
      {touched.length > 0 && <span title={`downstream of ${say(touched)}`}><i class="pmark pmark-touched">○</i> touched</span>}
      {node.type === "component" && node.findings > 0 && <Found node={node} />}
    </p>
  );
}

function Found({ node }: { node: PipelineNode }) {
  const text = `${node.findings} ${node.findings === 1 ? "finding" : "findings"}`;
  return node.incidents[0] ? <A href={`/incidents/${encodeURIComponent(node.incidents[0])}`}>{text}</A> : <>{text}</>;
}

function Components({ nodes }: { nodes: readonly PipelineNode[] }) {
  return (
    <Table
      label="components"
      rows={nodes}
      id={(row) => row.id}
      empty="No component has run yet."
      columns={[
        { head: "Component", cell: (row) => <A href={row.href}><Name text={row.name} /></A> },
        { head: "Last run", class: "fit", cell: (row) => (row.state ? <Mark state={row.state} /> : <span class="none">–</span>) },
        { head: "When", class: "fit", cell: (row) => <Time at={row.last_run} /> },
        { head: "Took", number: true, class: "fit", cell: (row) => length(row.duration) },
        { head: "Usually", number: true, class: "fit", cell: (row) => (row.usual ? `${length(row.usual.low)} to ${length(row.usual.high)}` : "–") },
        { head: "Runs", number: true, class: "fit", cell: (row) => count(row.runs) },
        { head: "Failed of 10", number: true, class: "fit", cell: (row) => count(row.failed_of_last_10) },
        { head: "Code", class: "fit", cell: (row) => <code>{String(row.code ?? "").slice(0, 10)}</code> },
        { head: "Findings", number: true, class: "fit", cell: (row) => count(row.findings) },
        { head: "Changed here", class: "wide", cell: (row) => row.marks.changed.slice(0, 3).map((one, i) => <>{i > 0 && "; "}{one.run ? <A href={`/runs?run=${encodeURIComponent(one.run)}`}><Name text={words(one.what)} /></A> : <Name text={words(one.what)} />}{one.at && <span class="quiet"> <Time at={one.at} /></span>}</>) },
      ]}
    />
  );
}
