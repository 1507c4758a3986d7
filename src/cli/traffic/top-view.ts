/** The picture of `inmesh top`: one row for each pair of services, sorted by a column. */
import type { Graph, GraphEdge } from '../../registry/traffic/graph.ts'
import { printable } from '../terminal.ts'
import { instant } from '../times.ts'
import {
  type Column,
  columnNamed,
  EDGE_COLUMNS,
  EDGE_STATES,
  fitting,
  type SortableColumn,
  sorted,
  tableOf,
} from './columns.ts'
import { count, gapsOf, seconds } from './coverage-text.ts'
import type { Key } from './screen.ts'

export interface TopState {
  readonly graph: Graph
  readonly windowMs: number
  readonly sort: SortableColumn<GraphEdge>
  readonly isReversed: boolean
  /** Rows above the first that is shown. */
  readonly offset: number
  /** Why the figures are not renewed. */
  readonly problem: string | undefined
}

export interface Size {
  readonly columns: number
  readonly rows: number
}

export type PaintLine = (colour: 'red' | 'yellow', line: string) => string

const COMMANDS = 'q quit  < > sort  r reverse'
/** The longest that fits is shown. */
const HELPS = [
  `${COMMANDS}  sort by: ${EDGE_COLUMNS.map(({ key, name }) => `${key} ${name}`).join('  ')}`,
  `${COMMANDS}  sort by: ${EDGE_COLUMNS.map(({ key }) => key).join(' ')}`,
  COMMANDS,
]
/** Where not all columns fit, the first of these are shown. */
const RANKS = ['CALLS/S', 'SUCCESS %', 'P99 MS', 'STATE', 'ERRORS', 'GAP %', 'P50 MS', 'IN FLIGHT', 'P90 MS']
/** Lines that are no edges. */
const AROUND = 4

export function pictureOf(state: TopState, size: Size, paint: PaintLine): string[] {
  const { graph, problem, windowMs } = state
  const edges = sorted(graph.edges, state.sort, state.isReversed)
  const columns: Column<GraphEdge>[] = EDGE_COLUMNS.map((column) =>
    column === state.sort ? { ...column, title: `${column.title}${isAscending(state) ? '^' : 'v'}` } : column,
  )
  const names = columns.slice(0, 2)
  const must = [...new Set([...names, columns[EDGE_COLUMNS.indexOf(state.sort)]!])]
  const shown = fitting([...columns, ...EDGE_STATES], edges, size.columns, must, rankOf)
  const [head = '', ...rows] = tableOf(shown, edges)
  const offset = bounded(state.offset, edges.length, size)
  const visible = rows.slice(offset, offset + roomFor(size))
  const { processes, heard } = graph.coverage
  const title = `inmesh top  ${instant(graph.at)}  last ${seconds(graph.windowMs)}  ${heard} of ${count(processes, 'process')} heard`
  const [gap] = gapsOf(graph, windowMs)
  const remark = problem === undefined ? gap : `not renewed: ${printable(problem)}`
  const cut = (line: string): string => line.slice(0, size.columns)
  return [
    cut(title),
    remark === undefined ? '' : paint(problem === undefined ? 'yellow' : 'red', cut(remark)),
    cut(head),
    ...visible.map((row, at) => coloured(cut(row), edges[offset + at]!, paint)),
    ...(edges.length === 0 ? ['no calls'] : []),
    cut(
      helpFor(
        edges.length > visible.length ? `${offset + 1}-${offset + visible.length} of ${edges.length}  ` : '',
        size,
      ),
    ),
  ]
}

/** What a key changes; `undefined`: nothing. */
export function afterKey(state: TopState, key: Key, size: Size): TopState | undefined {
  const at = EDGE_COLUMNS.indexOf(state.sort)
  const { length } = EDGE_COLUMNS
  const sortBy = (sort: SortableColumn<GraphEdge>): TopState => ({ ...state, sort, isReversed: false, offset: 0 })
  const scroll = (by: number): TopState => ({
    ...state,
    offset: bounded(state.offset + by, state.graph.edges.length, size),
  })
  switch (key) {
    case 'left':
    case '<':
      return sortBy(EDGE_COLUMNS[(at + length - 1) % length]!)
    case 'right':
    case '>':
      return sortBy(EDGE_COLUMNS[(at + 1) % length]!)
    case 'up':
      return scroll(-1)
    case 'down':
      return scroll(1)
    case 'page-up':
      return scroll(-roomFor(size))
    case 'page-down':
      return scroll(roomFor(size))
    case 'r':
      return { ...state, isReversed: !state.isReversed }
  }
  const found = EDGE_COLUMNS.find((column) => column.key === key)
  return found === undefined ? undefined : sortBy(columnNamed(found.name))
}

function rankOf({ title }: Column<GraphEdge>): number {
  const rank = RANKS.indexOf(title)
  return rank === -1 ? RANKS.length : rank
}

function helpFor(position: string, { columns }: Size): string {
  const helps = HELPS.map((help) => `${position}${help}`)
  return helps.find(({ length }) => length <= columns) ?? helps.at(-1)!
}

function roomFor({ rows }: Size): number {
  return Math.max(1, rows - AROUND)
}

function bounded(offset: number, edges: number, size: Size): number {
  return Math.max(0, Math.min(offset, edges - roomFor(size)))
}

function isAscending({ sort, isReversed }: TopState): boolean {
  return (sort.isFigure !== true || sort.leastFirst === true) !== isReversed
}

function coloured(line: string, { circuit, success, gap }: GraphEdge, paint: PaintLine): string {
  if (circuit === 'open' || (success !== null && success < 0.9)) return paint('red', line)
  return gap > 0 || circuit === 'half-open' || (success !== null && success < 0.99) ? paint('yellow', line) : line
}
