/** What the lines and signs of the picture mean. */

import type { Severity } from './severity.ts'
import { type Sign, SignIcon } from './signs.tsx'

const LINES: readonly (readonly [Severity, string])[] = [
  ['good', 'success ≥ 99.5 %'],
  ['warn', 'below'],
  ['bad', 'below 95 %, or open'],
  ['unheard', 'not heard'],
]
const SIGNS: readonly (readonly [Sign, Severity, string])[] = [
  ['bolt', 'bad', 'circuit open'],
  ['warning', 'warn', 'ejected, not ready'],
  ['frozen', 'warn', 'leases frozen'],
]

export function Legend() {
  return (
    <figcaption class="legend">
      {LINES.map(([severity, text]) => (
        <span key={severity}>
          <svg class={`edge ${severity}`} viewBox="0 0 24 8" width="24" height="8" aria-hidden="true">
            <path class="line thick" d="M0 4h24" />
          </svg>{' '}
          {text}
        </span>
      ))}
      {SIGNS.map(([sign, severity, text]) => (
        <span key={sign}>
          <SignIcon sign={sign} severity={severity} /> {text}
        </span>
      ))}
      <span>wider: more calls</span>
    </figcaption>
  )
}
