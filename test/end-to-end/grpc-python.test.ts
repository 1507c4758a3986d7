/**
 * Python's gRPC on either side, with a certificate of the mesh and nothing else of it. Debian's
 * python3-grpcio needs no compiler and no generated code.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { currentCall, type Mesh } from '../../src/index.ts'
import type { Registry } from '../../src/registry/index.ts'
import { instance } from '../rigs/instance.ts'
import { join, TestSession } from '../rigs/registry-session.ts'
import { begin, KINDS, Shop, type ShopHandlers, shopServer } from '../rigs/shop.ts'
import { eventually, Rig, wait } from './rig.ts'

/** Not the first python of the PATH: Debian's own is the one that its package is for. */
const PYTHON = '/usr/bin/python3'
const missing = whatIsMissing()
const title = missing === undefined ? 'gRPC in Python' : `gRPC in Python (SKIPPED: ${missing})`
if (missing !== undefined) console.warn(title)

function whatIsMissing(): string | undefined {
  const imports = (): boolean => {
    try {
      execFileSync(PYTHON, ['-c', 'import grpc'], { stdio: 'ignore', timeout: 20_000 })
      return true
    } catch {
      return false
    }
  }
  if (imports()) return undefined
  try {
    const options = { stdio: 'ignore', timeout: 120_000 } as const
    execFileSync('apt-get', ['install', '-y', '--no-install-recommends', 'python3-grpcio'], options)
  } catch {
    return `${PYTHON} cannot import grpc, and python3-grpcio could not be installed`
  }
  return imports() ? undefined : `${PYTHON} cannot import grpc, although python3-grpcio is installed`
}

const script = (name: string): string => fileURLToPath(new URL(`./python/${name}.py`, import.meta.url))

interface PythonCall {
  readonly kind: string
  readonly items: readonly string[]
  /** Seconds. Short ones fail at once on some machines. */
  readonly timeout?: number
  readonly metadata?: readonly (readonly [string, string])[]
}

interface PythonEnded {
  readonly code: string
  readonly details: string
  readonly answers: readonly string[]
  readonly trailers: Readonly<Record<string, string>>
}

interface PythonArrival {
  readonly kind: string
  readonly remaining: number | null
  readonly metadata: Readonly<Record<string, string>>
  readonly peers: readonly string[]
}

class PythonServer {
  readonly arrivals: PythonArrival[] = []
  readonly #child: ChildProcess
  port = 0
  stopped = false
  errors = ''

  constructor(options: object) {
    this.#child = spawn(PYTHON, [script('server'), JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child.stderr!.on('data', (text) => {
      this.errors += text
    })
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      const told = JSON.parse(line)
      if (told.port !== undefined) this.port = told.port
      else if (told.stopped === true) this.stopped = true
      else this.arrivals.push(told)
    })
  }

  /** Accepts no more calls, and lets running ones finish within `grace` seconds. */
  stop(grace: number): void {
    this.#child.stdin!.write(`${grace}\n`)
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

describe.skipIf(missing !== undefined)(title, () => {
  let rig: Rig
  let registry: Registry

  beforeEach(async () => {
    rig = new Rig()
    registry = await rig.registry({ dev: true, lease: '60s' })
  })

  afterEach(async () => {
    await rig.close()
  })

  /** An identity as for every member, in files that only we may read. */
  async function identityFiles(service: string): Promise<string> {
    const directory = rig.path(`identity-${service}`)
    mkdirSync(directory, { mode: 0o700, recursive: true })
    const { key, cert } = await join(registry, service)
    const files = { 'key.pem': key, 'cert.pem': cert, 'roots.pem': registry.roots.join('\n') }
    for (const [name, text] of Object.entries(files)) {
      writeFileSync(`${directory}/${name}`, text, { mode: 0o600 })
      chmodSync(`${directory}/${name}`, 0o600)
    }
    return directory
  }

  describe('as a client of a meshed server', () => {
    async function call(port: number, calls: readonly PythonCall[]): Promise<PythonEnded[]> {
      const directory = await identityFiles('python')
      const name = `spiffe://${registry.trustDomain}/service/inventory`
      const asked = { port, directory, name, calls }
      const { stdout } = await promisify(execFile)(PYTHON, [script('client'), JSON.stringify(asked)], {
        timeout: 60_000,
      })
      return JSON.parse(stdout)
    }

    interface Seen {
      readonly peer: string | undefined
      readonly remainingMs: number
      readonly traceId: string | undefined
      readonly kept: unknown
    }

    async function serve(): Promise<{ mesh: Mesh; port: number; seen: Seen[] }> {
      const seen: Seen[] = []
      const look = (call: { metadata: { get(name: string): unknown[] } }): void => {
        const { peer, remainingMs, trace } = currentCall()!
        seen.push({ peer: peer?.service, remainingMs, traceId: trace?.traceId, kept: call.metadata.get('x-kept')[0] })
      }
      const handlers: ShopHandlers = {
        Get: (call, answer) => {
          look(call)
          const { sku } = call.request
          if (sku === 'missing') answer({ code: 5, details: 'no such item: größe' })
          else if (sku !== 'hang') answer(null, { sku, left: 7 })
        },
        Upload: (call, answer) => {
          look(call)
          const all: string[] = []
          call.on('data', ({ sku }) => all.push(sku)).on('end', () => answer(null, { sku: all.join('+') }))
        },
        Watch: (call) => {
          look(call)
          for (let i = 0; i < 3; i++) call.write({ sku: `${call.request.sku}${i}` })
          call.end()
        },
        Chat: (call) => {
          look(call)
          call.on('data', ({ sku }) => call.write({ sku })).on('end', () => call.end())
        },
      }
      const mesh = await rig.mesh(registry, 'inventory')
      const { port } = await mesh.serveGrpc(shopServer(handlers))
      return { mesh, port, seen }
    }

    it('is known by its certificate, and gets answers to all four kinds', async () => {
      const { port, seen } = await serve()
      const metadata = [
        ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
        ['x-kept', 'yes'],
        ['inmesh-peer', 'root'],
      ] as const
      const ended = await call(
        port,
        KINDS.map((kind) => ({ kind, items: ['a', 'b'], timeout: 20, metadata })),
      )
      expect(ended.map(({ code, answers }) => [code, answers])).toEqual([
        ['OK', ['a']],
        ['OK', ['a+b']],
        ['OK', ['a0', 'a1', 'a2']],
        ['OK', ['a', 'b']],
      ])
      expect(seen).toHaveLength(4)
      for (const each of seen) {
        expect(each).toMatchObject({ peer: 'python', traceId: '0af7651916cd43dd8448eb211c80319c', kept: 'yes' })
        // It rounds up.
        expect(each.remainingMs).toBeLessThanOrEqual(21_000)
        expect(each.remainingMs).toBeGreaterThan(10_000)
      }
    })

    it('gets errors with their details, the end of its deadline, and no answer where nothing allows it', async () => {
      const { mesh, port } = await serve()
      const [failed, late, unknown] = await call(port, [
        { kind: 'get', items: ['missing'] },
        { kind: 'get', items: ['hang'], timeout: 5 },
        { kind: 'take', items: ['a'] },
      ])
      expect(failed).toMatchObject({ code: 'NOT_FOUND', details: 'no such item: größe' })
      expect(late).toMatchObject({ code: 'DEADLINE_EXCEEDED' })
      expect(unknown).toMatchObject({ code: 'UNIMPLEMENTED' })
      await registry.applyPolicies([
        { service: 'mesh', defaultIntention: 'deny' },
        { service: 'inventory', allow: [{ from: 'python', grpc: ['shop.Inventory/Watch'] }] },
      ])
      const { revision } = registry
      await eventually('it is in force', () =>
        mesh
          .events()
          .some(
            ({ name, payload }) =>
              name === 'snapshot:applied' && payload.subject === 'inventory' && Number(payload.revision) >= revision,
          ),
      )
      const ended = await call(
        port,
        KINDS.map((kind) => ({ kind, items: ['a'] })),
      )
      expect(ended.map(({ code }) => code)).toEqual([
        'PERMISSION_DENIED',
        'PERMISSION_DENIED',
        'OK',
        'PERMISSION_DENIED',
      ])
      expect(ended[0]!.trailers['inmesh-not-executed']).toBe('permission-denied')
    })
  })

  describe('as a server of a meshed client', () => {
    async function start(options: object = {}): Promise<PythonServer> {
      const name = `p${Math.random().toString(36).slice(2, 8)}`
      const directory = await identityFiles('inventory')
      const server = new PythonServer({ directory, name, ...options })
      rig.onClose(() => server.kill())
      await eventually(`Python serves: ${server.errors}`, () => server.port > 0)
      const session = await TestSession.open(registry, 'inventory', await join(registry, 'inventory'))
      rig.onClose(() => session.close())
      const announced = instance('inventory', name, { port: server.port, protocol: 'grpc', tls: true })
      expect((await session.ask({ type: 'register', instance: announced })).type).toBe('done')
      return server
    }

    it('serves all four kinds, and hears of deadline, trace and caller', async () => {
      const server = await start({ name: 'one' })
      const checkout = await rig.mesh(registry, 'checkout')
      const shop = checkout.grpc(Shop, 'inventory')
      const { Metadata } = await import('@grpc/grpc-js')
      const metadata = new Metadata()
      metadata.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01')
      metadata.set('x-kept', 'yes')
      const answers: unknown[] = []
      for (const kind of KINDS) {
        const options = { items: [{ sku: 'a' }, { sku: 'b' }], metadata, deadline: Date.now() + 9_000 }
        const ended = await begin(shop, kind, options).ended
        answers.push([ended.code, ended.details, ended.answers.map(({ sku }) => sku)])
      }
      expect(answers).toEqual([
        [0, expect.anything(), ['one a']],
        [0, expect.anything(), ['one a+b']],
        [0, expect.anything(), ['one a0', 'one a1', 'one a2']],
        [0, expect.anything(), ['one a', 'one b']],
      ])
      expect(server.arrivals.map(({ kind }) => kind)).toEqual(KINDS)
      for (const { remaining, metadata: seen, peers } of server.arrivals) {
        expect(remaining).toBeLessThanOrEqual(9)
        expect(remaining).toBeGreaterThan(4)
        expect(seen['x-kept']).toBe('yes')
        expect(peers).toEqual([`spiffe://${registry.trustDomain}/service/checkout`])
      }
    })

    it('receives the trace that a served call belongs to, without a word of the handler', async () => {
      const server = await start()
      const relay = await rig.mesh(registry, 'relay')
      const onward = relay.grpc(Shop, 'inventory')
      await relay.serveGrpc(shopServer({ Get: (call, answer) => onward.get(call.request, answer as never) }))
      const shop = (await rig.mesh(registry, 'checkout')).grpc(Shop, 'relay')
      const { Metadata } = await import('@grpc/grpc-js')
      const metadata = new Metadata()
      metadata.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01')
      expect((await begin(shop, 'get', { metadata, deadline: Date.now() + 20_000 }).ended).code).toBe(0)
      const [arrival] = server.arrivals
      expect(arrival!.metadata.traceparent).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/)
      expect(arrival!.remaining).toBeLessThanOrEqual(20)
    })

    it('that is UNAVAILABLE is left for the other one', async () => {
      const failing = await start({ failing: 'UNAVAILABLE' })
      const well = await start({ name: 'well' })
      const retry = { perTryTimeout: '20s' }
      await registry.applyPolicies([{ service: 'inventory', balancer: 'round-robin', timeout: '20s', retry }])
      const shop = (await rig.mesh(registry, 'checkout')).grpc(Shop, 'inventory')
      for (let i = 0; i < 12; i++) {
        const { code, details, answers } = await begin(shop, 'get').ended
        expect([code, details, answers[0]?.sku]).toEqual([0, expect.anything(), 'well a'])
      }
      expect(failing.arrivals.length).toBeGreaterThan(0)
      expect(well.arrivals).toHaveLength(12)
      // The second attempt says so.
      const retried = well.arrivals.filter(({ metadata }) => metadata['grpc-previous-rpc-attempts'] === '1')
      expect(retried).toHaveLength(failing.arrivals.length)
    })

    /**
     * Python decides at once to take no more, and its GOAWAY comes a moment later. What arrives in
     * between it answers with CANCELLED, in the bytes that a handler's own CANCELLED has, and
     * counts among its streams in the last GOAWAY.
     */
    it('that stops with GOAWAY loses no call that may be repeated, and executes none twice', async () => {
      const stopping = await start({ work: 0.05 })
      const staying = await start({ work: 0.05 })
      await registry.applyPolicies([{ service: 'inventory', balancer: 'round-robin', timeout: '20s' }])
      const shop = (await rig.mesh(registry, 'checkout')).grpc(Shop, 'inventory')
      const running: Promise<{ kind: string; code: number; details: string }>[] = []
      const kinds = ['get', 'take', 'get', 'chat'] as const
      for (let i = 0; i < 40 || !stopping.stopped; i++) {
        const kind = kinds[i % 4]!
        running.push(begin(shop, kind).ended.then((ended) => ({ kind, ...ended })))
        if (i === 40) stopping.stop(10)
        await wait(10)
      }
      const failed = (await Promise.all(running)).filter(({ code }) => code !== 0)
      const told = ({ kind, code, details }: (typeof failed)[number]): unknown => [kind !== 'get', code, details]
      expect(failed.map(told)).toEqual(failed.map(() => [true, 1, 'CANCELLED']))
      const executed = (): number =>
        [...stopping.arrivals, ...staying.arrivals].filter(({ kind }) => kind !== 'get').length
      await expect.poll(executed).toBe(Math.floor(running.length / 2) - failed.length)
      expect(stopping.arrivals.length).toBeGreaterThan(10)
      expect(staying.arrivals.length).toBeGreaterThan(10)
    })
  })
})
