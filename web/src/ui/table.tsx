/** A table that stays quick with 10,000 rows: sorted and filtered as a whole, drawn a page at a time. */

import type { ComponentChildren } from "preact";
import { useId, useMemo, useState } from "preact/hooks";

import { count } from "./format.ts";
import type { Word } from "./glossary.ts";
import { Term } from "./term.tsx";

type Order = number | bigint | string | null;

export interface Column<R> {
  /** Unique in its table; the heading, too. */
  name: string;
  cell: (row: R) => ComponentChildren;
  /** What it is sorted by; null comes last. Without it the column is not sortable. */
  order?: (row: R) => Order;
  term?: Word;
  number?: boolean;
  /** Sentences: not squeezed to a word a line. */
  wide?: boolean;
}

interface Props<R> {
  caption: ComponentChildren;
  rows: R[];
  columns: Column<R>[];
  /** The text that the filter looks in; without it there is no filter. */
  text?: (row: R) => string;
  filterLabel?: string;
  first?: { name: string; down: boolean };
  empty: ComponentChildren;
}

const PAGE = 20;
const ALWAYS_SMALL = 8;

function compare(a: Order, b: Order): number {
  if (a === b) return 0;
  if (a === null) return 1;
  if (b === null) return -1;
  return a < b ? -1 : 1;
}

function sorted<R>(rows: R[], order: ((row: R) => Order) | undefined, down: boolean): R[] {
  if (order === undefined) return rows;
  const keyed = rows.map((row) => ({ row, key: order(row) }));
  keyed.sort((a, b) => (a.key === null || b.key === null ? compare(a.key, b.key) : down ? compare(b.key, a.key) : compare(a.key, b.key)));
  return keyed.map(({ row }) => row);
}

export function DataTable<R>(props: Props<R>) {
  const { rows, columns, text } = props;
  const id = useId();
  const [sort, setSort] = useState(props.first ?? null);
  const [filter, setFilter] = useState("");
  const [wanted, setPage] = useState(0);
  const order = columns.find(({ name }) => name === sort?.name)?.order;
  const needle = filter.trim().toLowerCase();
  const found = useMemo(
    () => (text === undefined || needle === "" ? rows : rows.filter((row) => text(row).toLowerCase().includes(needle))),
    [rows, needle],
  );
  const ordered = useMemo(() => sorted(found, order, sort?.down ?? false), [found, sort?.name, sort?.down]);
  const pages = Math.max(1, Math.ceil(ordered.length / PAGE));
  const page = Math.min(wanted, pages - 1);
  const shown = ordered.slice(page * PAGE, (page + 1) * PAGE);
  if (rows.length === 0) return <p class="note">{props.empty}</p>;
  const press = (column: Column<R>) => {
    setSort({ name: column.name, down: sort?.name === column.name ? !sort.down : column.number === true });
    setPage(0);
  };
  return (
    <div>
      {text === undefined || rows.length <= ALWAYS_SMALL ? null : (
        <div class="table-tools">
          <label>
            {props.filterLabel ?? "Filter"}
            <input type="search" value={filter} onInput={(event) => { setFilter(event.currentTarget.value); setPage(0); }} />
          </label>
          <span class="quiet small" role="status">
            {needle === "" ? `${count(rows.length)} rows` : `${count(found.length)} of ${count(rows.length)} rows`}
          </span>
        </div>
      )}
      <div class="table-scroll" role="region" aria-labelledby={id} tabIndex={0}>
        <table>
          <caption id={id}>{props.caption}</caption>
          <thead>
            <tr>
              {columns.map((column) => (
                <Heading column={column} sort={sort} press={press} />
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <tr>
                {columns.map((column, i) => {
                  const className = column.number === true ? "number" : column.wide === true ? "wide" : undefined;
                  return i === 0 ? <th scope="row" class={className}>{column.cell(row)}</th> : <td class={className}>{column.cell(row)}</td>;
                })}
              </tr>
            ))}
            {shown.length === 0 ? (
              <tr>
                <td colSpan={columns.length}>
                  No row matches “{filter}”. <button type="button" onClick={() => setFilter("")}>Show all rows</button>
                </td>
              </tr>
            ) : null}
          </tbody>
        </table>
      </div>
      {pages === 1 ? null : <Pager page={page} pages={pages} rows={ordered.length} go={setPage} />}
    </div>
  );
}

function Heading<R>({ column, sort, press }: { column: Column<R>; sort: { name: string; down: boolean } | null; press: (column: Column<R>) => void }) {
  const here = sort?.name === column.name;
  const aria = here ? (sort.down ? "descending" : "ascending") : column.order === undefined ? undefined : "none";
  return (
    <th scope="col" class={column.number === true ? "number" : undefined} aria-sort={aria}>
      {column.order === undefined ? column.name : (
        <button type="button" class="plain" onClick={() => press(column)}>
          {column.name}
          <span class="arrow" aria-hidden="true">{here ? (sort.down ? "↓" : "↑") : ""}</span>
        </button>
      )}
      {column.term === undefined ? null : <> <Term word={column.term} /></>}
    </th>
  );
}

function Pager({ page, pages, rows, go }: { page: number; pages: number; rows: number; go: (page: number) => void }) {
  return (
    <nav class="pager" aria-label="Pages of the table">
      <button type="button" disabled={page === 0} onClick={() => go(0)}>First</button>
      <button type="button" disabled={page === 0} onClick={() => go(page - 1)}>Previous</button>
      <span class="quiet" role="status">
        Rows {count(page * PAGE + 1)}–{count(Math.min(rows, (page + 1) * PAGE))} of {count(rows)}
      </span>
      <button type="button" disabled={page === pages - 1} onClick={() => go(page + 1)}>Next</button>
      <button type="button" disabled={page === pages - 1} onClick={() => go(pages - 1)}>Last</button>
    </nav>
  );
}
