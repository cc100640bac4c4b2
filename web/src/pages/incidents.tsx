import { apiUrl, usePageApi } from "../api";
import { number, share } from "../format";
import { Export } from "../parts/filters";
import { Incidents } from "../parts/incidents";
import { A } from "../parts/link";
import { Head, Ready } from "../parts/ready";
import { Pages } from "../parts/table";
import { changedBy, usePlace } from "../route";
import type { IncidentsPage } from "../types";

const STATES = ["open", "acknowledged", "snoozed", "pending", "resolved", "dismissed", "all"];
const LIMIT = 100;

export function IncidentList() {
  const { query } = usePlace();
  const state = query.get("state") ?? "open";
  const takes = ["state", "offset", "order"];
  const asked = usePageApi<IncidentsPage>("/incidents", takes, { limit: String(LIMIT), state });
  return (
    <>
      <Head title="Incidents" tools={<Export url={apiUrl("/incidents", takes, { state })} />}>
        <nav class="choices" aria-label="states">
          {STATES.map((one) => <A key={one} exact class="choice" href={changedBy({ state: one, offset: null })} current={one === state}>{one}</A>)}
        </nav>
      </Head>
      <Ready asked={asked}>
        {({ data }) => (
          <>
            <Incidents rows={data.rows} empty={state === "open" ? "No incident is open." : `No incident is of the state ${state}.`} />
            <Pages total={data.total} shown={data.rows.length} limit={LIMIT} />
            {data.record && <p class="note">{record(data.record)}</p>}
          </>
        )}
      </Ready>
    </>
  );
}

function record(found: Record<string, number | null>): string {
  const parts = [`${number(found["confirmed"] ?? 0)} confirmed`, `${number(found["dismissed"] ?? 0)} dismissed`];
  if (typeof found["precision"] === "number") parts.push(`${share(found["precision"])} of those that were judged were right`);
  return `${parts.join(", ")}.`;
}
