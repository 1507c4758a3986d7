/** Rows as text, numbers short, aligned to the right. */
export function table(title: string, rows: readonly object[]): string {
  const names = Object.keys(rows[0] ?? {})
  const cells = [names, ...rows.map((row) => names.map((name) => show((row as Record<string, unknown>)[name])))]
  const widths = names.map((_, i) => Math.max(...cells.map((line) => line[i]!.length)))
  const lines = cells.map((line) => `  ${line.map((cell, i) => align(cell, widths[i]!, i)).join('  ')}`)
  return [title, ...lines, ''].join('\n')
}

function align(cell: string, width: number, column: number): string {
  return column === 0 ? cell.padEnd(width) : cell.padStart(width)
}

function show(value: unknown): string {
  if (typeof value !== 'number') return value === undefined ? '-' : String(value)
  if (!Number.isFinite(value)) return value === Number.POSITIVE_INFINITY ? 'never' : '-'
  if (Number.isInteger(value)) return String(value)
  return Math.abs(value) >= 99 ? value.toFixed(3) : value.toPrecision(4)
}
