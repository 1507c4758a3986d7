/** The signs of the picture: each state has a shape, so that no color is needed to tell it. */
import type { Severity } from './severity.ts'

/** In a box of 12 by 12. */
export const SIGNS = {
  lock: 'M2.5 5.5h7v5h-7zM4 5.5V3.8a2 2 0 0 1 4 0v1.7',
  unlocked: 'M2.5 5.5h7v5h-7zM4 5.5V3.2a2 2 0 0 1 3.8-.9',
  bolt: 'M6.8 1.5 3.2 6.8h2.6l-.6 3.7 3.6-5.3H6.2z',
  cross: 'M3 3l6 6M9 3l-6 6',
  warning: 'M6 2v5M6 9.4v.6',
  unheard: 'M4 4.2a2 2 0 1 1 2.6 1.9c-.5.2-.6.6-.6 1.2M6 9.4v.6',
  frozen: 'M6 1v10M1.7 3.5l8.6 5M10.3 3.5l-8.6 5',
} as const
export type Sign = keyof typeof SIGNS

const OF_SEVERITY: Readonly<Record<Severity, Sign | undefined>> = {
  ...{ bad: 'cross', warn: 'warning', unheard: 'unheard', good: undefined },
}

export function signOf(severity: Severity): Sign | undefined {
  return OF_SEVERITY[severity]
}

/** `x`, `y`: its upper left corner, in a picture. */
export function SignAt({ sign, x, y, kind = '' }: { sign: Sign; x: number; y: number; kind?: string }) {
  return <path class={`sign ${sign} ${kind}`} d={SIGNS[sign]} transform={`translate(${x} ${y})`} />
}

/** In a disc, in a picture; `x`, `y`: its middle. */
export function Disc({ sign, x, y, severity }: { sign: Sign; x: number; y: number; severity: Severity }) {
  return (
    <g class={`disc ${severity}`}>
      <circle cx={x} cy={y} r="9" />
      <path d={SIGNS[sign]} transform={`translate(${x - 6} ${y - 6})`} />
    </g>
  )
}

/** In a text. */
export function SignIcon({ sign, severity = 'good' }: { sign: Sign; severity?: Severity }) {
  return (
    <svg class={`icon disc ${severity}`} viewBox="0 0 20 20" width="16" height="16" aria-hidden="true">
      <circle cx="10" cy="10" r="9" />
      <path d={SIGNS[sign]} transform="translate(4 4)" />
    </svg>
  )
}
