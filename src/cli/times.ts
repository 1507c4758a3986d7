/** Formats instants of the registry's wall clock. */

/** `2026-03-01 14:05:09Z`; `-` for what is no instant. */
export function instant(at: unknown): string {
  const date = typeof at === 'number' || typeof at === 'string' ? new Date(at) : undefined
  if (date === undefined || Number.isNaN(date.getTime())) return '-'
  return `${date.toISOString().slice(0, 19).replace('T', ' ')}Z`
}

/** `3 min ago`. */
export function ago(at: number, now = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - at) / 1_000))
  if (seconds < 120) return `${seconds} s ago`
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min ago`
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h ago`
  return `${Math.round(seconds / 86_400)} d ago`
}
