// Incidents as a table.
import { words } from "../format";
import type { IncidentRow } from "../types";
import { A, Name } from "./link";
import { Mark } from "./mark";
import { Table, type Column } from "./table";
import { Onset, Time } from "./time";

const columns: Column<IncidentRow>[] = [
  { head: "Severity", class: "fit", cell: (row) => <Mark state={ended(row) ? "ended" : row.severity} text={row.severity} /> },
  { head: "What", class: "wide rest", cell: (row) => <A href={row.href}><Name text={row.title} /></A> },
  { head: "Began", class: "fit", cell: (row) => <Onset at={row.began} low={row.began_low} high={row.began_high} /> },
  { head: "Where it began", class: "fit", cell: (row) => (row.where.href ? <A href={row.where.href}><Name text={row.where.label} /></A> : <Name text={row.where.label} />) },
  { head: "State", class: "fit", cell: (row) => <>{words(row.state)}{row.until && row.state === "snoozed" ? <> until <Time at={row.until} /></> : null}</> },
  { head: "Findings", number: true, class: "fit", cell: (row) => row.findings },
  { head: "Owner", class: "fit", cell: (row) => (row.owner ? <Name text={row.owner} /> : <span class="none">–</span>) },
];

function ended(row: IncidentRow): boolean {
  return row.state === "resolved" || row.state === "dismissed";
}

export function Incidents({ rows, empty = "No incident is open." }: { rows: readonly IncidentRow[]; empty?: string }) {
  return <Table label="incidents" rows={rows} columns={columns} id={(row) => row.id} empty={empty} />;
}
