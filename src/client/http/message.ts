/** The two halves of an HTTP exchange as this client holds them: request and response head. */
import type { RequestHead } from '../selection.ts'
import type { RequestBody } from './body/request.ts'
import { flatHeader } from './headers.ts'

/** Checked and ready to be written. */
export class PreparedRequest implements RequestHead {
  readonly method: string
  readonly path: string
  /** `[name, value, ...]`, names in lower case. */
  readonly headers: string[]
  readonly body: RequestBody | undefined
  /** The connection ends with the exchange. */
  readonly reset: boolean

  constructor(method: string, path: string, headers: string[], body: RequestBody | undefined, reset = false) {
    this.method = method
    this.path = path
    this.headers = headers
    this.body = body
    this.reset = reset
  }

  header(name: string): string | undefined {
    return flatHeader(this.headers, name)
  }
}

/** Response headers as undici reads them: names in lower case. */
export type ReceivedHeaders = Readonly<Record<string, string | string[] | undefined>>
