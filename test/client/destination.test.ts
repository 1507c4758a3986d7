import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { ReportedWeights } from '../../src/client/balancing/reported-weights.ts'
import { Destination, type DestinationParts } from '../../src/client/destination.ts'
import { DoubtedEndpoints } from '../../src/client/doubted-endpoints.ts'
import { PreparedRequest } from '../../src/client/http/prepare-request.ts'
import type { Selector } from '../../src/client/selection.ts'
import type { Transport } from '../../src/client/transport.ts'
import { TransportPreferences } from '../../src/client/transport-preferences.ts'
import { SILENT } from '../../src/core/telemetry.ts'
import { type PolicyDocument, resolvePolicy } from '../../src/discovery/policy-document.ts'
import { OverrideProofs } from '../../src/identity/override-proofs.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { opened } from './http/opened.ts'

const policy = (document: Omit<PolicyDocument, 'service'>) => resolvePolicy(null, { service: 'inventory', ...document })
const head = (method: string, path = '/items/42') => new PreparedRequest(method, path, [], undefined)

/** A destination whose transport reaches nothing: no protocol is needed to make one. */
function destinationOf(parts: Partial<DestinationParts<Transport>> = {}): Destination {
  const clock = new FakeClock()
  const transport: Transport = {
    clock,
    closed: false,
    connections: 0,
    poolOf() {
      throw new Error('reaches nothing')
    },
    prefer() {},
    probe: () => () => () => {},
    overrides: new OverrideProofs(undefined, undefined, clock),
    close() {},
  }
  const made = new Destination('inventory', 'http', {
    clock,
    telemetry: SILENT,
    events: { emit() {} },
    transport,
    idempotent: new Set(['GET']),
    client: { id: 'client-1', zone: undefined },
    doubted: new DoubtedEndpoints(clock, true),
    caller: 'checkout',
    hold: () => undefined,
    successor: () => undefined,
    ...parts,
  })
  return opened(Object.assign(made, { close: made.close.bind(made, 0) }))
}

describe('the transport that calls prefer', () => {
  it('follows the policy, and is forgotten with the destination', () => {
    const preferences = new TransportPreferences('http1')
    const changes: boolean[] = []
    const destination = destinationOf()
    destination.transport.prefer = (...told) => void changes.push(preferences.set(...told))
    const now = (document: Omit<PolicyDocument, 'service'>) => {
      destination.configure(policy(document))
      return preferences.of('inventory')
    }
    expect(now({})).toBe('http1')
    expect(now({ transport: 'auto' })).toBe('auto')
    expect(now({ transport: 'auto', timeout: '1s' })).toBe('auto')
    expect(preferences.of('prices')).toBe('http1')
    destination.close(0)
    expect(preferences.of('inventory')).toBe('http1')
    expect(changes).toEqual([false, true, false, true])
  })

  it('is that of the process where no document says anything', () => {
    const preferences = new TransportPreferences('auto')
    expect(preferences.of('inventory')).toBe('auto')
    expect(preferences.set('inventory', 'http1')).toBe(true)
    expect([preferences.of('inventory'), preferences.of('prices')]).toEqual(['http1', 'auto'])
  })
})

describe('what a destination selects', () => {
  it('is one object for all calls of a kind', () => {
    const destination = destinationOf()
    const selected = destination.select(head('GET'), false)
    expect(destination.select(head('GET', '/items/43'), false)).toBe(selected)
    expect(selected.kind).toEqual({
      service: 'inventory',
      method: 'GET',
      protocol: 'http',
      streaming: false,
      idempotent: true,
    })
    expect(destination.select(head('GET'), true).kind.streaming).toBe(true)
    expect(destination.select(head('POST'), false).kind.idempotent).toBe(false)
  })

  it('is the stack of the policy in force, on the routes that were known before it', () => {
    const destination = destinationOf()
    const { kind } = destination.select(head('GET'), false)
    const streaming = destination.select(head('GET'), true)
    const { stack } = streaming
    destination.configure(policy({ timeout: '123ms' }))
    destination.apply({ instances: [], intended: true, stale: false, left: new Set(), frozen: false })
    const selected = destination.select(head('GET'), false)
    expect(selected.stack.timeoutMs).toBe(123)
    expect(selected.kind).toBe(kind)
    expect(destination.select(head('GET'), true).stack).toBe(selected.stack)
    expect(selected.stack).not.toBe(stack)
  })

  it('learns from reports where the policy takes weights from them, and keeps what it has learned', () => {
    const destination = destinationOf()
    const by = (weights: 'registered' | 'reported') => {
      destination.configure(policy({ balancer: { name: 'weighted-round-robin', weights } }))
      return destination.learner
    }
    expect(by('registered')).toBeUndefined()
    const learner = by('reported')
    expect(learner).toBeInstanceOf(ReportedWeights)
    const instance = {
      id: 'a',
      service: 'inventory',
      address: '127.0.0.1',
      port: 1,
      protocol: 'http',
      tls: false,
    } as const
    const at = { ...instance, zone: undefined, version: undefined, weight: 1, metadata: {}, state: 'ready' } as const
    destination.apply({ instances: [at], intended: true, stale: false, left: new Set(), frozen: false })
    const { picker } = destination.cluster
    expect(by('registered')).toBeUndefined()
    expect(destination.cluster.picker).not.toBe(picker)
    expect(by('reported')).toBe(learner)
  })

  it('is kept for a bounded number of methods, and right for all others', () => {
    const destination = destinationOf()
    for (let i = 0; i < 1_000; i++) destination.select(head(`M${i}`), false)
    const selected = destination.select(head('M999'), false)
    expect(selected.kind.method).toBe('M999')
    expect(destination.select(head('M999'), false)).not.toBe(selected)
    expect(destination.select(head('M1'), false)).toBe(destination.select(head('M1'), false))
  })

  it('comes from its successor once it was forgotten', () => {
    const next = destinationOf()
    let successor: Selector<Transport> | undefined = next
    const destination = destinationOf({ successor: () => successor })
    const own = destination.select(head('GET'), false)
    destination.close(0)
    expect(destination.select(head('GET'), false)).toBe(next.select(head('GET'), false))
    successor = undefined
    expect(destination.select(head('GET'), false)).toBe(own)
  })
})

/** One warm GET; prints the files with a function that ran, under the names of their sources. */
const WALK = `
  import { createServer } from 'node:http'
  import { Session } from 'node:inspector/promises'
  const src = process.argv[1]
  const load = (path) => import(new URL(path, src).href)
  const { Destination } = await load('client/destination.ts')
  const { HttpClient } = await load('client/http/client.ts')
  const { HttpTransport } = await load('client/http/transport.ts')
  const { systemClock: clock } = await load('core/clock.ts')
  const { SILENT } = await load('core/telemetry.ts')
  const server = createServer((_, response) => response.end('ok'))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const transport = await HttpTransport.create({ clock })
  const destination = new Destination('inventory', 'http', {
    clock, telemetry: SILENT, events: { emit() {} }, transport, idempotent: new Set(['GET']),
    client: { id: 'client-1', zone: undefined }, successor: () => undefined,
  })
  const at = { service: 'inventory', id: 'i-1', address: '127.0.0.1', port: server.address().port,
    protocol: 'http', tls: false, weight: 100, metadata: {}, state: 'ready' }
  destination.apply({ instances: [at], intended: true, stale: false, left: new Set(), frozen: false })
  const http = new HttpClient(destination)
  for (let i = 0; i < 5; i++) await (await http.get('/items/42')).text()
  const session = new Session()
  session.connect()
  await session.post('Profiler.enable')
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
  await session.post('Profiler.takePreciseCoverage')
  await (await http.get('/items/42')).text()
  const { result } = await session.post('Profiler.takePreciseCoverage')
  const ran = result.filter(({ url, functions }) =>
    url.startsWith(src) && functions.some(({ functionName, ranges }) => functionName !== '' && ranges[0].count > 0))
  console.log(JSON.stringify(ran.map(({ url }) => url.slice(src.length))))
  destination.close(0)
  transport.close(0)
  server.close()
`

it('a call passes through sixteen files of the client, beside the policies and the words of core', async () => {
  const src = new URL('../../src/', import.meta.url).href
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', WALK, src], {
    timeout: 45_000,
  })
  const files = (JSON.parse(stdout) as string[]).filter(
    (file) => !/^(?:core|resilience|client\/balancing)\//.test(file),
  )
  expect(files.sort()).toEqual(
    [
      'client/http/client.ts',
      'client/http/prepare-request.ts',
      'client/http/headers.ts',
      'client/http/call.ts',
      'client/destination.ts',
      'client/selections.ts',
      'client/call.ts',
      'client/http/attempt.ts',
      'client/attempt.ts',
      'client/http/transport.ts',
      'client/http/pool.ts',
      'client/http/connection.ts',
      'client/http/shared-connections.ts',
      'client/http/idle-connections.ts',
      'client/http/body/response.ts',
      'client/http/response.ts',
    ].sort(),
  )
})
