/** `mesh.request`: as `http.request` of Node, with services as hosts. */
import { type ClientRequest, type IncomingMessage, request as overHttp, type RequestOptions } from 'node:http'
import { request as overHttps } from 'node:https'
import { mistake } from '../../call-options.ts'
import type { MeshAgent } from './agent.ts'

type OnResponse = (response: IncomingMessage) => void

/** Takes what `http.request` takes, without `agent`. */
export interface MeshRequest {
  (options: RequestOptions, onResponse?: (response: IncomingMessage) => void): ClientRequest
  (url: string | URL, options?: RequestOptions, onResponse?: (response: IncomingMessage) => void): ClientRequest
  (url: string | URL, onResponse?: (response: IncomingMessage) => void): ClientRequest
}

export function makeRequest(agent: MeshAgent): MeshRequest {
  return (input: string | URL | RequestOptions, ...more: (RequestOptions | OnResponse | undefined)[]) => {
    const url = typeof input === 'string' ? new URL(input) : input instanceof URL ? input : undefined
    const options = (url === undefined ? input : more.find((given) => typeof given === 'object')) as
      | RequestOptions
      | undefined
    const onResponse = more.find((given) => typeof given === 'function')
    for (const field of ['agent', 'createConnection'] as const) {
      if (options?.[field] === undefined) continue
      throw mistake([field], 'mesh.request makes its own connections; for http.request there is mesh.agent()')
    }
    const secure = (options?.protocol ?? url?.protocol) === 'https:'
    const request = secure ? overHttps : overHttp
    const asked = { ...options, agent }
    return url === undefined ? request(asked, onResponse) : request(url, asked, onResponse)
  }
}
