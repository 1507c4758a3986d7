/** The columns of a table of figures, and the order of its rows. */
import type { GraphEdge } from '../../registry/traffic/graph.ts'
import { printable } from '../terminal.ts'
import { failures, figure, type Known, percent } from './figures.ts'

export interface Column<T> {
  readonly title: string
  readonly text: (row: T) => string
  /** Figures stand to the right. */
  readonly isFigure?: boolean
}

/** A column by which rows are sorted: texts from A to Z, figures with the remarkable ones first. */
export interface SortableColumn<T> extends Column<T> {
  /** In `--sort`. */
  readonly name: string
  /** That sorts by it on the screen. */
  readonly key: string
  readonly value: (row: T) => string | Known
  /** The least is the remarkable one. */
  readonly leastFirst?: boolean
}

function count(
  name: string,
  key: string,
  title: string,
  value: (row: GraphEdge) => Known,
  text: (value: Known) => string = figure,
): SortableColumn<GraphEdge> {
  return { name, key, title, value, text: (row) => text(value(row)), isFigure: true }
}

/** Failed calls of the window; unknown where its calls are. */
function errorsOf({ calls, codes }: GraphEdge): Known {
  return calls === null ? null : failures(codes)
}

export const EDGE_COLUMNS: readonly SortableColumn<GraphEdge>[] = [
  { name: 'from', key: 'f', title: 'FROM', value: ({ from }) => from, text: ({ from }) => from },
  { name: 'to', key: 't', title: 'TO', value: ({ to }) => to, text: ({ to }) => to },
  count('rate', 'c', 'CALLS/S', ({ perSecond }) => perSecond),
  { ...count('success', 's', 'SUCCESS %', ({ success }) => success, percent), leastFirst: true },
  count('errors', 'e', 'ERRORS', errorsOf),
  count('p50', '5', 'P50 MS', ({ p50 }) => p50),
  count('p90', '0', 'P90 MS', ({ p90 }) => p90),
  count('p99', '9', 'P99 MS', ({ p99 }) => p99),
  count('in-flight', 'i', 'IN FLIGHT', ({ inFlight }) => inFlight),
  count('retries', 'y', 'RETRIES', ({ retries }) => retries),
  count('gap', 'g', 'GAP %', ({ gap }) => gap, percent),
]

/** Besides the sortable ones. */
export const EDGE_STATES: readonly Column<GraphEdge>[] = [
  { title: 'TLS', text: ({ tls }) => (tls === null ? '-' : tls ? 'mTLS' : 'no') },
  { title: 'STATE', text: stateOf },
]

function stateOf({ circuit, ejected }: GraphEdge): string {
  if (circuit === null) return '-'
  const parts = [...(circuit === 'closed' ? [] : [`circuit ${circuit}`]), ...(ejected ? [`${ejected} ejected`] : [])]
  return parts.join(', ') || 'ok'
}

export const SORT_NAMES: readonly string[] = EDGE_COLUMNS.map(({ name }) => name)

/** What is unknown comes last, either way round. */
export function sorted<T>(rows: readonly T[], column: SortableColumn<T>, isReversed = false): T[] {
  return [...rows].sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)]
    if (x === null || x === undefined || y === null || y === undefined) {
      return Number(x === null || x === undefined) - Number(y === null || y === undefined)
    }
    const isAscending = typeof x === 'string' || column.leastFirst === true
    const order = x < y ? -1 : x > y ? 1 : 0
    return isAscending === isReversed ? -order : order
  })
}

export function columnNamed(name: string): SortableColumn<GraphEdge> {
  return EDGE_COLUMNS.find((column) => column.name === name)!
}

/** Lines of equal columns, the head first. Figures stand with their points below each other. */
export function tableOf<T>(columns: readonly Column<T>[], rows: readonly T[]): string[] {
  const texts = columns.map((column) => alignedTexts(column, rows))
  return Array.from({ length: rows.length + 1 }, (_, at) =>
    texts
      .map((column) => column[at]!)
      .join('  ')
      .trimEnd(),
  )
}

/** The title and the cells of one column, of equal width. */
function alignedTexts<T>({ title, text, isFigure }: Column<T>, rows: readonly T[]): string[] {
  const cells = rows.map((row) => printable(text(row)))
  const longest = (texts: readonly string[]): number => texts.reduce((most, { length }) => Math.max(most, length), 0)
  if (isFigure !== true) {
    const width = longest([title, ...cells])
    return [title, ...cells].map((cell) => cell.padEnd(width))
  }
  const fraction = longest(cells.map((cell) => cell.slice(wholeOf(cell).length)))
  const padded = cells.map((cell) => cell.padEnd(wholeOf(cell).length + fraction))
  const width = longest([title, ...padded])
  return [title, ...padded].map((cell) => cell.padStart(width))
}

/** What is before the point. */
function wholeOf(cell: string): string {
  return cell.split('.', 1)[0]!
}

/**
 * The columns that fit into `width`, in their order. `must` are always there, and the others come
 * by `rank`, the first ones first.
 */
export function fitting<C extends Column<T>, T>(
  columns: readonly C[],
  rows: readonly T[],
  width: number,
  must: readonly C[],
  rank: (column: C) => number,
): C[] {
  const widths = new Map(columns.map((column) => [column, alignedTexts(column, rows)[0]!.length + 2]))
  const kept = new Set(must)
  // No blanks stand after the last one.
  let left = width + 2 - must.reduce((all, column) => all + widths.get(column)!, 0)
  for (const column of columns.filter((one) => !kept.has(one)).sort((a, b) => rank(a) - rank(b))) {
    if (widths.get(column)! > left) break
    left -= widths.get(column)!
    kept.add(column)
  }
  return columns.filter((column) => kept.has(column))
}
