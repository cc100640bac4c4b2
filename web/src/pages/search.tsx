import { usePageApi } from "../api";
import { A, Name } from "../parts/link";
import { Head, Ready } from "../parts/ready";
import { Table } from "../parts/table";
import { usePlace } from "../route";
import type { SearchPage } from "../types";

export function Search() {
  const q = usePlace().query.get("q") ?? "";
  const asked = usePageApi<SearchPage>(q ? "/search" : null, ["q"], { limit: "200" });
  return (
    <>
      <Head kind="Search" title={<Name text={q || "everything"} />} />
      {q === "" ? (
        <p class="empty">Components, streams, columns, tasks, slices, objectives, incidents, runs and keys are found by a part of their name.</p>
      ) : (
        <Ready asked={asked}>
          {({ data }) => (
            <Table
              label="found"
              rows={data.rows}
              id={(row, i) => `${row.href}:${i}`}
              empty="Nothing has such a name."
              columns={[
                { head: "", class: "fit quiet", cell: (row) => row.type },
                { head: "Name", cell: (row) => <A href={row.href}><Name text={row.name} /></A> },
                { head: "About", class: "wide", cell: (row) => <Name text={row.about ?? ""} class="quiet" /> },
              ]}
            />
          )}
        </Ready>
      )}
    </>
  );
}
