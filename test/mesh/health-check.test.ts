import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterEach, expect, it } from 'vitest'
import type { Mesh } from '../../src/mesh/mesh.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { until } from '../client/http/rig.ts'

let test: TestMesh | undefined

afterEach(async () => {
  await test?.close()
  test = undefined
})

const healthCheck = { interval: '100ms', unhealthyAfter: 2, path: '/ready' } as const
const told = (mesh: Mesh, name: string): unknown[] =>
  mesh.events().flatMap((event) => (event.name === name ? [event.payload] : []))

const count = (mesh: Mesh, state: string): number =>
  Number(new RegExp(`inmesh_client_endpoints\\{[^}]*state="${state}"[^}]*\\} (\\d+)`).exec(mesh.metrics())?.[1])

it('an instance that says that it is not ready gets no calls until it is, with a policy that is applied while all run', async () => {
  test = await startTestMesh({ policies: [{ service: 'inventory', balancer: 'round-robin' }] })
  const served = [0, 0, 0]
  const ready = [true, true, true]
  for (const i of served.keys()) {
    await test.serve('inventory', (req, res) => {
      if (req.url === '/ready') res.statusCode = ready[i] ? 200 : 503
      else served[i]! += 1
      res.end()
    })
  }
  const checkout = await test.join('checkout')
  const inventory = checkout.http('inventory')
  const call = async (times: number): Promise<number[]> => {
    const before = [...served]
    for (let i = 0; i < times; i++) expect((await inventory.get('/items')).status).toBe(200)
    return served.map((count, i) => count - before[i]!)
  }
  ready[1] = false
  expect(await call(30)).toEqual([10, 10, 10])

  await test.apply([{ service: 'inventory', balancer: 'round-robin', healthCheck }])
  await until(() => told(checkout, 'endpoint:ejected').length > 0)
  expect(told(checkout, 'endpoint:ejected')[0]).toMatchObject({ reason: 'health-check', detail: 'status 503' })
  expect((await call(30))[1]).toBe(0)
  const ejections = (): number =>
    Number(/inmesh_client_ejections_total\{[^}]*reason="health-check"[^}]*\} (\d+)/.exec(checkout.metrics())?.[1])
  expect(ejections()).toBe(1)
  expect(checkout.metrics()).toMatch(/inmesh_client_requests_total\{[^}]*code="ok"[^}]*\} 60\n/)

  ready[1] = true
  await until(() => told(checkout, 'endpoint:restored').length > 0)
  expect((await call(30))[1]).toBe(10)

  ready[1] = false
  await until(() => ejections() === 2)
  await test.apply([{ service: 'inventory', balancer: 'round-robin', healthCheck: false }])
  expect((await call(30))[1]).toBe(10)
})

it('without an intention for the path everybody is unhealthy, so all are used; with one, all is well', async () => {
  const allow = [{ from: 'checkout', paths: ['/items/*'] }]
  test = await startTestMesh({ policies: [{ service: 'inventory', healthCheck, allow }] })
  for (let i = 0; i < 2; i++) await test.serve('inventory', (_req, res) => res.end('ok'))
  const checkout = await test.join('checkout')
  const inventory = checkout.http('inventory')
  expect((await inventory.get('/items/1')).status).toBe(200)
  await until(() => count(checkout, 'ejected') === 2)
  expect(told(checkout, 'endpoint:ejected')[0]).toMatchObject({ reason: 'health-check', detail: 'status 403' })
  expect(told(checkout, 'cluster:panic').at(-1)).toMatchObject({ on: true })
  for (let i = 0; i < 10; i++) expect((await inventory.get('/items/1')).status).toBe(200)

  await test.apply([{ service: 'inventory', healthCheck, allow: [...allow, { from: '*', paths: ['/ready'] }] }])
  await until(() => count(checkout, 'healthy') === 2)
  expect(told(checkout, 'cluster:panic').at(-1)).toMatchObject({ on: false })
})

it('a process that has nothing else to do ends, whatever is checked', async () => {
  const source = (path: string): string => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href)
  const script = `
    const { HealthChecks } = await import(${source('client/health-checks.ts')})
    const { HttpTransport } = await import(${source('client/http/transport.ts')})
    const { systemClock: clock } = await import(${source('core/clock.ts')})
    const { Endpoint } = await import(${source('core/endpoint.ts')})
    const { EjectionPolicy } = await import(${source('resilience/ejection.ts')})
    const { EJECTION } = await import(${source('resilience/ejection-settings.ts')})
    const { HEALTH_CHECK } = await import(${source('resilience/health-check.ts')})
    const server = (await import('node:net')).createServer()
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address()
    await new Promise((resolve) => server.close(resolve))
    const transport = await HttpTransport.create({ clock })
    const probe = (path) => transport.probe(path)
    const checks = new HealthChecks({ clock, ejection: new EjectionPolicy(EJECTION.defaults, clock), probe })
    const endpoint = new Endpoint('inventory', { id: 'a', address: '127.0.0.1', port, protocol: 'http', tls: false, weight: 1, metadata: {} })
    checks.configure(HEALTH_CHECK.resolve({ interval: '100ms' }))
    checks.update([endpoint])
    for (let look = 0; look < 300 && checks.failureOf(endpoint) === undefined; look++)
      await new Promise((resolve) => setTimeout(resolve, 50))
    console.log(checks.failureOf(endpoint))
  `
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    timeout: 50_000,
  })
  expect(stdout.trim()).toBe('connect-failed')
})
