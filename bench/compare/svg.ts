/**
 * Bar charts as SVG text: groups of bars, each bar one value or a stack of parts, with whiskers
 * where there is a spread.
 */

export interface Bar {
  readonly label: string
  /** From the bottom up; parts with the same name have the same colour. */
  readonly parts: readonly { readonly name: string; readonly value: number }[]
  readonly whisker?: { readonly low: number; readonly high: number }
}

export interface Chart {
  readonly title: string
  /** What the axis counts. */
  readonly unit: string
  readonly groups: readonly { readonly label: string; readonly bars: readonly Bar[] }[]
  /**
   * Parts in the order of their colours, where charts have to agree on them. @defaultValue as they
   * first appear
   */
  readonly names?: readonly string[]
}

const WIDTH = 860
const HEIGHT = 376
const LEFT = 64
const RIGHT = 16
const TOP = 92
const BOTTOM = 56
const COLOURS = ['#3b6ea5', '#8fb4d9', '#d98032', '#5b9a5b', '#8d6bb0', '#b0b0b0']
const FONT = 'font-family="system-ui, sans-serif"'

/** A picture of 860 × 376. */
export function barChart({ title, unit, groups, ...chart }: Chart): string {
  const bars = groups.flatMap((group) => group.bars)
  const names = chart.names ?? [...new Set(bars.flatMap((bar) => bar.parts.map(({ name }) => name)))]
  const top = niceTop(Math.max(0, ...bars.map((bar) => Math.max(heightOf(bar), bar.whisker?.high ?? 0))))
  const bottom = -niceTop(Math.max(0, ...bars.map((bar) => -Math.min(heightOf(bar), bar.whisker?.low ?? 0))))
  const plot = HEIGHT - TOP - BOTTOM
  const y = (value: number): number => TOP + (plot * (top - value)) / (top - bottom || 1)
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    text(16, 26, title, { size: 16, weight: 'bold' }),
    ...legend(names),
    ...axis(top, bottom, y, unit),
  ]
  const groupWidth = (WIDTH - LEFT - RIGHT) / Math.max(1, groups.length)
  for (const [g, group] of groups.entries()) {
    const step = (groupWidth * 0.84) / Math.max(1, group.bars.length)
    const from = LEFT + groupWidth * g + groupWidth * 0.08
    for (const [b, bar] of group.bars.entries()) {
      lines.push(...drawBar(bar, from + step * b + step * 0.1, step * 0.8, y, names))
    }
    lines.push(text(LEFT + groupWidth * (g + 0.5), HEIGHT - 14, group.label, { anchor: 'middle', weight: 'bold' }))
  }
  return `${[...lines, '</svg>'].join('\n')}\n`
}

function heightOf(bar: Bar): number {
  return bar.parts.reduce((sum, { value }) => sum + value, 0)
}

function drawBar(bar: Bar, x: number, width: number, y: (value: number) => number, names: readonly string[]): string[] {
  const lines: string[] = []
  let level = 0
  for (const { name, value } of bar.parts) {
    const [above, below] = [y(Math.max(level, level + value)), y(Math.min(level, level + value))]
    const colour = COLOURS[names.indexOf(name) % COLOURS.length]
    lines.push(
      `<rect x="${fix(x)}" y="${fix(above)}" width="${fix(width)}" height="${fix(below - above)}" fill="${colour}"/>`,
    )
    level += value
  }
  const middle = x + width / 2
  if (bar.whisker !== undefined) {
    const { low, high } = bar.whisker
    lines.push(
      `<path d="M${fix(middle)} ${fix(y(low))}V${fix(y(high))}M${fix(middle - 4)} ${fix(y(low))}h8M${fix(middle - 4)} ${fix(y(high))}h8" stroke="#333" fill="none"/>`,
    )
  }
  const tip = y(Math.max(level, bar.whisker?.high ?? 0, 0)) - 5
  lines.push(text(middle, tip, short(level), { anchor: 'middle', size: 11 }))
  lines.push(text(middle, HEIGHT - BOTTOM + 16, bar.label, { anchor: 'middle', size: 11 }))
  return lines
}

function legend(names: readonly string[]): string[] {
  if (names.length < 2) return []
  const lines: string[] = []
  let x = 16
  for (const [i, name] of names.entries()) {
    lines.push(`<rect x="${x}" y="40" width="11" height="11" fill="${COLOURS[i % COLOURS.length]}"/>`)
    lines.push(text(x + 16, 50, name))
    x += 34 + name.length * 7
  }
  return lines
}

function axis(top: number, bottom: number, y: (value: number) => number, unit: string): string[] {
  const lines = [text(16, 68, unit, { size: 11 })]
  const step = niceStep((top - bottom) / 5)
  for (let value = Math.ceil(bottom / step) * step; value <= top + step / 1000; value += step) {
    const at = fix(y(value))
    const colour = Math.abs(value) < step / 1000 ? '#555' : '#ddd'
    lines.push(`<path d="M${LEFT} ${at}H${WIDTH - RIGHT}" stroke="${colour}"/>`)
    lines.push(text(LEFT - 8, y(value) + 4, short(value), { anchor: 'end', size: 11 }))
  }
  return lines
}

/** 1, 2 or 5 times a power of ten, not below `value`. */
export function niceStep(value: number): number {
  if (!(value > 0)) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  const factor = value / power
  return power * (factor <= 1.000001 ? 1 : factor <= 2.000001 ? 2 : factor <= 5.000001 ? 5 : 10)
}

function niceTop(value: number): number {
  if (!(value > 0)) return 0
  const step = niceStep(value / 5)
  return Math.ceil(value / step - 1e-9) * step
}

function short(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 100) return String(Math.round(value))
  return String(Number(value.toPrecision(2)))
}

function fix(value: number): string {
  return String(Math.round(value * 10) / 10)
}

interface TextStyle {
  readonly anchor?: 'middle' | 'end'
  readonly size?: number
  readonly weight?: 'bold'
}

function text(x: number, y: number, content: string, { anchor, size = 12, weight }: TextStyle = {}): string {
  const more = `${anchor === undefined ? '' : ` text-anchor="${anchor}"`}${weight === undefined ? '' : ` font-weight="${weight}"`}`
  return `<text x="${fix(x)}" y="${fix(y)}" ${FONT} font-size="${size}" fill="#222"${more}>${escaped(content)}</text>`
}

function escaped(content: string): string {
  return content.replace(/[&<>"]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[sign]!)
}
