/** INMESH_DEBUG: writes what the meshes of this process decide to stderr, a line for each. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { safeText } from '../access-log/safe-text.ts'
import type { AttemptEnded } from '../call-channels.ts'
import { DEBUG_AREAS, type DebugArea, type DebugChannel, type DebugFormat, type DebugSettings } from './areas.ts'

const LONGEST_VALUE = 256
/** What waits for a slow reader of stderr; beyond it lines are left out. */
const MOST_WAITING = 1024 * 1024

/** Of stderr. */
export interface DebugOutput {
  readonly writableLength: number
  write(line: string): unknown
  on(event: 'error', listener: () => void): unknown
}

type Message = Readonly<Record<string, unknown>> & { readonly service: string; readonly at: number }

export class DebugLog {
  readonly #format: DebugFormat
  readonly #output: DebugOutput
  readonly #subscribed: (readonly [channel: string, listener: (message: unknown) => void])[] = []
  #left = 0

  constructor({ areas, format }: DebugSettings, output: DebugOutput) {
    this.#format = format
    this.#output = output
    for (const area of areas) for (const name of DEBUG_AREAS[area]) this.#subscribe(area, name)
  }

  close(): void {
    for (const [name, listener] of this.#subscribed.splice(0)) unsubscribe(name, listener)
  }

  #subscribe(area: DebugArea, name: DebugChannel): void {
    const listener = (message: unknown): void => {
      if (area === 'retry' && name === 'attempt:ended' && isOrdinary(message as AttemptEnded)) return
      this.#write(area, name, message as Message)
    }
    subscribe(`inmesh:${name}`, listener)
    this.#subscribed.push([`inmesh:${name}`, listener])
  }

  #write(area: DebugArea, name: DebugChannel, message: Message): void {
    if (this.#output.writableLength > MOST_WAITING) {
      this.#left += 1
      return
    }
    const left = this.#left
    this.#left = 0
    const line = this.#format === 'json' ? jsonLine(area, name, message) : textLine(area, name, message)
    this.#output.write(left === 0 ? `${line}\n` : `${line}\ninmesh: ${left} lines were left out, stderr is slow\n`)
  }
}

/** The only attempt of its call, and a success: it says nothing of retries. */
function isOrdinary({ attempt, verdict, retryInMs }: AttemptEnded): boolean {
  return attempt === 1 && verdict === 'success' && retryInMs === undefined
}

function jsonLine(area: DebugArea, event: DebugChannel, { at, ...payload }: Message): string {
  const safe = Object.entries(payload).map(([key, value]) => [key, typeof value === 'string' ? shown(value) : value])
  return JSON.stringify({ time: new Date(at).toISOString(), area, event, ...Object.fromEntries(safe) })
}

/** `12:03:04.123 inmesh checkout retry attempt:ended peer=inventory code=overloaded` */
function textLine(area: DebugArea, event: DebugChannel, { at, service, ...payload }: Message): string {
  const time = new Date(at).toISOString().slice(11, 23)
  const fields = Object.entries(payload).map(([key, value]) => `${key}=${quoted(value)}`)
  return [time, 'inmesh', service || '-', area, event, ...fields].join(' ')
}

function quoted(value: unknown): string {
  const text = shown(String(value))
  return /[\s"=]/.test(text) || text === '' ? JSON.stringify(text) : text
}

function shown(text: string): string {
  return safeText(text, LONGEST_VALUE)
}

let running: DebugLog | undefined

/** Once for all meshes of the process, until it ends. */
export function startDebugLog(settings: DebugSettings): void {
  if (running !== undefined) return
  // Without a listener, a reader that has gone would end the process.
  process.stderr.on('error', () => {})
  running = new DebugLog(settings, process.stderr)
}
