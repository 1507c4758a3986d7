/** Figures as people read them; `-` stands for what is unknown. */

export type Known = number | null | undefined

/** Three digits, as far as figures are that precise: `1234`, `52.1`, `0.05`. */
export function figure(value: Known): string {
  if (value === null || value === undefined) return '-'
  const size = Math.abs(value)
  const digits = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : 2
  return value.toFixed(digits)
}

/** `99.8`, in percent. Only all of it is 100, and only nothing is 0. */
export function percent(share: Known): string {
  if (share === null || share === undefined) return '-'
  if (share === 0 || share === 1) return String(share * 100)
  const digits = share > 0.99 || share < 0.01 ? 2 : 1
  const least = 10 ** -digits
  return Math.min(100 - least, Math.max(least, share * 100)).toFixed(digits)
}

/** `v1 90 %, v2 10 %`, the largest first. */
export function shares(of: Readonly<Record<string, number>> | null): string {
  if (of === null) return '-'
  const sorted = Object.entries(of).sort(([, a], [, b]) => b - a)
  return sorted.map(([name, share]) => `${name === '' ? 'none' : name} ${percent(share)} %`).join(', ') || '-'
}

/** `3 of 4`. */
export function ready(healthy: Known, instances: Known): string {
  return typeof healthy === 'number' && typeof instances === 'number' ? `${healthy} of ${instances}` : '-'
}

/** Calls that failed; those that their callers cancelled say nothing. */
export function failures(codes: Readonly<Record<string, number>>): number {
  return Object.entries(codes).reduce((all, [code, count]) => (code === 'cancelled' ? all : all + count), 0)
}
