/** Tables of figures: aligned, cut to a width, and in an order that stays. */
import { describe, expect, it } from 'vitest'
import { type Column, columnNamed, fitting, sorted, tableOf } from '../../../src/cli/traffic/columns.ts'
import type { GraphEdge } from '../../../src/registry/traffic/graph.ts'

const NAME: Column<readonly [string, string]> = { title: 'NAME', text: ([name]) => name }
const FIGURE: Column<readonly [string, string]> = { title: 'P99 MS', text: ([, figure]) => figure, isFigure: true }
const WIDE: Column<readonly [string, string]> = { title: 'A WIDE COLUMN', text: () => 'x' }

const edge = (from: string, more: Partial<GraphEdge> = {}): GraphEdge =>
  ({ from, to: 'b', perSecond: null, codes: {}, ...more }) as GraphEdge

describe('a table', () => {
  it('has the points of its figures below each other', () => {
    const rows = [
      ['a', '983'],
      ['b', '36.9'],
      ['c', '0.05'],
      ['d', '-'],
      ['\u001b[31mred\u202e', '1'],
    ] as const
    expect(tableOf([NAME, FIGURE], rows)).toEqual([
      'NAME       P99 MS',
      'a          983',
      'b           36.9',
      'c            0.05',
      'd            -',
      '?[31mred?    1',
    ])
  })

  it('leaves out the columns of the least rank that do not fit', () => {
    const columns = [NAME, WIDE, FIGURE]
    const rank = (column: Column<readonly [string, string]>): number => (column === WIDE ? 1 : 0)
    const titles = (width: number) => fitting(columns, [], width, [NAME], rank).map(({ title }) => title)
    expect(titles(27)).toEqual(['NAME', 'A WIDE COLUMN', 'P99 MS'])
    expect(titles(26)).toEqual(['NAME', 'P99 MS'])
    expect(titles(11)).toEqual(['NAME'])
    expect(titles(1)).toEqual(['NAME'])
  })

  it('keeps the order of equal rows, and has what is unknown last, either way round', () => {
    const rows = [
      edge('c', { perSecond: 1 }),
      edge('d'),
      edge('a', { perSecond: 1 }),
      edge('e', { perSecond: 0 }),
      edge('b', { perSecond: 2 }),
    ]
    const order = (isReversed: boolean) => sorted(rows, columnNamed('rate'), isReversed).map(({ from }) => from)
    expect(order(false).join('')).toBe('bcaed')
    expect(order(true).join('')).toBe('ecabd')
  })
})
