/** Figures as people read them. What is not known is a dash, and never 0. */

export const UNKNOWN = '–'

/** The same for all readers: `2026-11-29 23:05:10`, in their time zone. */
const CLOCK = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' })
const DAY = new Intl.DateTimeFormat('sv-SE', { year: 'numeric', month: '2-digit', day: '2-digit' })

export function rate(perSecond: number | null): string {
  if (perSecond === null) return UNKNOWN
  if (perSecond > 0 && perSecond < 0.01) return '<0.01/s'
  return perSecond < 10_000 ? `${significant(perSecond)}/s` : `${significant(perSecond / 1_000)}k/s`
}

export function percent(share: number | null): string {
  if (share === null) return UNKNOWN
  // Downwards, so that only what is whole is shown as whole, and nothing as better than it is.
  if (share > 0.99) return `${Math.floor(share * 1_000 + 1e-9) / 10} %`
  if (share > 0 && share < 0.0005) return '<0.1 %'
  return `${Number((share * 100).toFixed(1))} %`
}

export function latency(ms: number | null): string {
  if (ms === null) return UNKNOWN
  return ms < 1_000 ? `${significant(ms)} ms` : `${significant(ms / 1_000)} s`
}

export function count(value: number | null): string {
  return value === null ? UNKNOWN : String(value)
}

export function clockTime(at: number): string {
  return CLOCK.format(at)
}

export function dateTime(at: number): string {
  return `${DAY.format(at)} ${CLOCK.format(at)}`
}

/** `1 process`, `2 processes`. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${value} ${value === 1 ? one : many}`
}

/** `3 d`, `2 h`, `5 min`, `12 s`. */
export function span(ms: number): string {
  const seconds = Math.round(Math.abs(ms) / 1_000)
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`
  return `${Math.round(seconds / 86_400)} d`
}

export function until(at: number | null, now: number): string {
  if (at === null) return UNKNOWN
  return at < now ? `ended ${span(now - at)} ago` : `in ${span(at - now)}`
}

export function shares(parts: Readonly<Record<string, number>> | null): string {
  if (parts === null || Object.keys(parts).length === 0) return UNKNOWN
  return Object.entries(parts)
    .sort(([a], [b]) => a.localeCompare(b, undefined, { numeric: true }))
    .map(([name, share]) => `${name} ${percent(share)}`)
    .join(', ')
}

/** `checkout checkout-9d07af806179` without its service, which its id begins with by default. */
export function processName(process: string): string {
  const [service = '', ...id] = process.split(' ')
  return id.join(' ').startsWith(`${service}-`) ? id.join(' ') : process
}

function significant(value: number): string {
  if (value === 0) return '0'
  if (value >= 100) return String(Math.round(value))
  return String(Number(value.toPrecision(value >= 10 ? 3 : 2)))
}
