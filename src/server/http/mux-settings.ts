/** What the options of an HTTP server mean for its connections of `inmesh/1`. */
import { MUX_DEFAULTS } from '../../mux/settings.ts'
import type { MuxServerSettings } from '../mux/protocol.ts'
import type { HttpServerSettings } from './options.ts'

export function muxSettings({ headersTimeout, keepAliveTimeout }: HttpServerSettings): MuxServerSettings {
  return {
    session: { ...MUX_DEFAULTS, firstFrameMs: headersTimeout },
    idleMs: keepAliveTimeout,
    // As over HTTP/1.1, an answer in progress is never cut off for the age of its connection.
    streamGraceMs: Number.POSITIVE_INFINITY,
  }
}
