/** Requests of Node's `http` through `mesh.agent`, and what a test sees of them. */
import http, { type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { MeshAgent } from '../../../../src/client/http/agent/agent.ts'
import { type MeshAgentOptions, resolveAgent } from '../../../../src/client/http/agent/options.ts'
import { findHosts } from '../../../../src/client/http/service-hosts.ts'
import { opened } from '../opened.ts'
import type { Rig } from '../rig.ts'

export function agentOf(rig: Rig, options?: MeshAgentOptions): MeshAgent {
  const settings = resolveAgent(options)
  const agent = new MeshAgent(
    findHosts((name) => (name === rig.service ? rig : undefined), settings.services),
    settings,
  )
  opened({ close: () => agent.destroy() })
  return agent
}

export interface Answer {
  readonly response: IncomingMessage
  readonly status: number
  readonly body: string
}

/** Resolves with the whole answer; rejects with the first error of the request or its answer. */
export function answerTo(request: ClientRequest): Promise<Answer> {
  return new Promise((resolve, reject) => {
    request.on('error', reject)
    request.on('response', (response) => {
      const parts: Buffer[] = []
      response.on('error', reject)
      response.on('data', (part) => parts.push(part))
      response.on('end', () =>
        resolve({ response, status: response.statusCode!, body: Buffer.concat(parts).toString() }),
      )
    })
  })
}

export function ask(agent: MeshAgent, options: RequestOptions = {}, body?: string | Buffer): Promise<Answer> {
  const request = http.request({ host: 'inventory.mesh', path: '/items/42', ...options, agent })
  const answer = answerTo(request)
  request.end(body)
  return answer
}
