/** What attackers send on a raw HTTP/2 connection, and the honest client beside them. */
import { onTestFinished } from 'vitest'
import { pause } from '../server/rig.ts'
import { FLAG, frameOf, frames, type RawHttp2 } from './raw-http2.ts'

export interface Flood {
  readonly flood: (raw: RawHttp2) => void
  /** The reason that the server reports. */
  readonly reason?: string
}

/** The same frame 50,000 times. */
export function many(raw: RawHttp2, frame: Buffer): void {
  const portion = Buffer.concat(Array.from({ length: 1_000 }, () => frame))
  for (let i = 0; i < 50; i++) raw.write(portion)
}

/** Floods of frames that need no handler. `head`: of a request. */
export function floodsOfFrames(head: Parameters<typeof frames.headers>[1]): Readonly<Record<string, Flood>> {
  return {
    PING: {
      flood: (raw) => {
        for (let i = 0; i < 20; i++) raw.write(...Array.from({ length: 500 }, () => frames.ping()))
      },
      reason: 'ping-flood',
    },
    SETTINGS: {
      flood: (raw) => {
        for (let i = 0; i < 20; i++) raw.write(...Array.from({ length: 500 }, () => frames.settings({ 4: 65_535 })))
      },
      reason: 'settings-flood',
    },
    WINDOW_UPDATE: { flood: (raw) => many(raw, frames.windowUpdate(0, 1)), reason: 'frame-flood' },
    PRIORITY: { flood: (raw) => many(raw, frames.priority(3)) },
    'an unknown frame': { flood: (raw) => many(raw, frameOf(0x77, 0, 0)) },
    CONTINUATION: {
      flood: (raw) => {
        raw.write(frames.headers(1, head, FLAG.endStream))
        for (let i = 0; i < 2_000; i++) raw.write(frames.continuation(1, { [`x-${i}`]: 'y'.repeat(1_000) }))
      },
    },
  }
}

/** Calls one after another until it is stopped; gives the answers. */
export function keepCalling<T>(call: () => Promise<T>): () => Promise<T[]> {
  const answers: T[] = []
  let going = true
  const done = (async () => {
    while (going) {
      answers.push(await call())
      await pause(2)
    }
  })()
  const stop = async (): Promise<T[]> => {
    going = false
    await done
    return answers
  }
  onTestFinished(async () => {
    await stop()
  })
  return stop
}
