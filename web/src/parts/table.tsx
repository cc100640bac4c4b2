// Tables: numbers to the right, aligned; names cut, not wrapped; a head that says what sorts.
import type { ComponentChildren } from "preact";
import { set, usePlace } from "../route";

export interface Column<Row> {
  head: ComponentChildren;
  /** Numbers stand at the right. */
  number?: boolean;
  /** The name that the server orders by. */
  order?: string;
  class?: string;
  title?: string;
  cell: (row: Row, index: number) => ComponentChildren;
}

interface Props<Row> {
  rows: readonly Row[];
  columns: readonly Column<Row>[];
  id: (row: Row, index: number) => string;
  label: string;
  tone?: (row: Row) => string;
  empty?: ComponentChildren;
}

export function Table<Row>({ rows, columns, id, label, tone, empty }: Props<Row>) {
  if (rows.length === 0) return <p class="empty">{empty ?? "Nothing."}</p>;
  return (
    <div class="table-box">
      <table aria-label={label} class={columns.some((column) => column.class?.includes("wide")) ? "" : "narrow"}>
        <thead>
          <tr>
            {columns.map((column, i) => (
              <th key={i} scope="col" class={classes(column)} title={column.title}>
                {column.order ? <Order name={column.order}>{column.head}</Order> : column.head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={id(row, index)} class={tone?.(row)}>
              {columns.map((column, i) => (
                <td key={i} class={classes(column)}>{column.cell(row, index)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function classes<Row>(column: Column<Row>): string {
  return [column.number ? "number" : "", column.class ?? ""].filter(Boolean).join(" ");
}

function Order({ name, children }: { name: string; children: ComponentChildren }) {
  const now = usePlace().query.get("order");
  const down = now === `-${name}`;
  const mark = down ? " ▾" : now === name ? " ▴" : "";
  return (
    <button type="button" class="order" onClick={() => set({ order: down ? name : `-${name}`, offset: null })}>
      {children}{mark}
    </button>
  );
}

/** Which part of a long list is shown, and how to see the next. */
export function Pages({ total, shown, limit }: { total: number; shown: number; limit: number }) {
  const offset = Number(usePlace().query.get("offset") ?? 0) || 0;
  if (total <= shown && offset === 0) return null;
  const to = (at: number): void => set({ offset: at > 0 ? String(at) : null });
  return (
    <nav class="pager" aria-label="pages of the list">
      <button type="button" disabled={offset === 0} onClick={() => to(Math.max(offset - limit, 0))}>Previous</button>
      <span class="number">{offset + 1}–{offset + shown} of {total}</span>
      <button type="button" disabled={offset + shown >= total} onClick={() => to(offset + limit)}>Next</button>
    </nav>
  );
}
