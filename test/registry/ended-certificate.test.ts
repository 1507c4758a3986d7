/** A connection to the registry that outlives the certificate that it was opened with. */
import { X509Certificate } from 'node:crypto'
import https from 'node:https'
import { afterEach, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { LeapingClock } from '../rigs/leaping-clock.ts'
import { type Credentials, csrOf, join, newKey } from '../rigs/registry-session.ts'

let registry: Registry

afterEach(() => registry.close())

interface Said {
  readonly status: number | undefined
  readonly text: string
  readonly reused: boolean
}

function renew(agent: https.Agent, credentials: Credentials): Promise<Said> {
  const body = JSON.stringify({ csr: csrOf(newKey()) })
  return new Promise((resolve, reject) => {
    const asked = https.request(
      new URL('/v1/renew', registry.url),
      { method: 'POST', agent, ca: [...registry.roots], servername: 'localhost', ...credentials },
      (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part
        })
        response.on('end', () => resolve({ status: response.statusCode, text, reused: asked.reusedSocket }))
      },
    )
    asked.on('error', reject)
    asked.setHeader('content-length', Buffer.byteLength(body))
    asked.end(body)
  })
}

test('is answered with 401 once the certificate has ended', async () => {
  const clock = new LeapingClock(0)
  registry = await startRegistry({ port: 0, memory: true, log: false, clock })
  const credentials = await join(registry, 'inventory')
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1 })
  try {
    expect((await renew(agent, credentials)).status).toBe(200)
    const { validTo } = new X509Certificate(credentials.cert)
    clock.pass(Date.parse(validTo) - clock.wallNow() - 60_000)
    expect(await renew(agent, credentials)).toMatchObject({ status: 200, reused: true })
    clock.pass(61_000)
    const said = await renew(agent, credentials)
    expect(said).toMatchObject({ status: 401, reused: true })
    expect(JSON.parse(said.text).error.code).toBe('identity-required')
  } finally {
    agent.destroy()
  }
})
