/** The two halves of an HTTP exchange as this client holds them: request and response head. */
import type { RequestBody } from './body/request.ts'

/** Checked and ready to be written. */
export interface PreparedRequest {
  readonly method: string
  readonly path: string
  /** `[name, value, ...]`, names in lower case. */
  readonly headers: string[]
  readonly body: RequestBody | undefined
  /** The connection is to end with the exchange. */
  readonly reset?: boolean
}

/** Response headers as undici reads them: names in lower case. */
export type ReceivedHeaders = Readonly<Record<string, string | string[] | undefined>>
