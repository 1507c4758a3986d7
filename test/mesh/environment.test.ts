import { describe, expect, it } from 'vitest'
import { DEFAULT_TRANSPORT } from '../../src/core/transport.ts'
import { resolveMeshOptions } from '../../src/mesh/resolve-options.ts'
import { resolveServeOptions } from '../../src/mesh/serve-options.ts'

const TOKEN = `inmesh-join.${'s'.repeat(27)}.${'f'.repeat(43)}`

describe('options from code', () => {
  it('may be inherited, or getters of a class', () => {
    const defaults = { zone: 'a', weight: 50 }
    expect(resolveMeshOptions(Object.assign(Object.create(defaults), { service: 'inventory' }), {})).toMatchObject(
      defaults,
    )
    class Configuration {
      readonly service = 'inventory'
      get zone(): string {
        return 'not a zone'
      }
    }
    expect(() => resolveMeshOptions(new Configuration(), {})).toThrow(/zone: expected a zone name/)
  })

  it('of a server as well', () => {
    const options = Object.create({ advertise: 'example.org', port: 8080 }) as object
    const { server, advertise } = resolveServeOptions(options, true)
    expect({ ...server, advertise }).toMatchObject({ port: 8080, advertise: 'example.org' })
    expect(() => resolveServeOptions(Object.create({ prot: 1 }) as object, true)).toThrow(/prot: unknown key/)
  })

  it('of a server and its process fit into one instance together', () => {
    const metadata = (first: number, length: number) =>
      Object.fromEntries(Array.from({ length }, (_, i) => [`key-${first + i}`, 'x']))
    expect(() => resolveServeOptions({ metadata: metadata(0, 32) }, true, metadata(32, 33))).toThrow(
      /metadata: expected at most 64 entries together with those of joinMesh, got 65/,
    )
    const { metadata: all } = resolveServeOptions({ metadata: metadata(0, 64) }, true, metadata(32, 32))
    expect(Object.keys(all)).toHaveLength(64)
  })
})

describe('options from variables', () => {
  it('forgive white space, and take an empty variable for none', () => {
    const settings = resolveMeshOptions(
      { service: 'inventory' },
      { INMESH_JOIN_TOKEN: ` ${TOKEN}\n`, INMESH_REGISTRY: '', INMESH_ZONE: ' a ', INMESH_WEIGHT: '' },
    )
    expect(settings).toMatchObject({ joinToken: TOKEN, registry: ['https://127.0.0.1:7400'], zone: 'a', weight: 100 })
  })

  it('bound the joining as code does', () => {
    const bound = (options: object, env: object): number =>
      resolveMeshOptions({ service: 'inventory', ...options }, { ...env }).joinTimeoutMs
    expect(bound({}, {})).toBe(5_000)
    expect(bound({}, { INMESH_JOIN_TIMEOUT: '2m' })).toBe(120_000)
    expect(bound({}, { INMESH_JOIN_TIMEOUT: '750' })).toBe(750)
    expect(bound({ joinTimeout: '1s' }, { INMESH_JOIN_TIMEOUT: '2m' })).toBe(1_000)
    expect(() => bound({}, { INMESH_JOIN_TIMEOUT: 'soon' })).toThrow(/joinTimeout: .*INMESH_JOIN_TIMEOUT/)
  })

  it('choose the transport, unless code does', () => {
    const transport = (options: object, env: object): string =>
      resolveMeshOptions({ service: 'inventory', ...options }, { ...env }).transport
    expect(transport({}, {})).toBe(DEFAULT_TRANSPORT)
    expect(transport({}, { INMESH_TRANSPORT: 'auto' })).toBe('auto')
    expect(transport({ transport: 'http1' }, { INMESH_TRANSPORT: 'auto' })).toBe('http1')
    expect(() => transport({}, { INMESH_TRANSPORT: 'h2' })).toThrow(/transport: .*'auto', 'http1'.*INMESH_TRANSPORT/)
  })

  it('turn reports of calls off', () => {
    const reports = (options: object, env: object): boolean =>
      resolveMeshOptions({ service: 'inventory', ...options }, { ...env }).traffic
    expect(reports({}, {})).toBe(true)
    expect(reports({}, { INMESH_TRAFFIC: 'false' })).toBe(false)
    expect(reports({ traffic: true }, { INMESH_TRAFFIC: 'false' })).toBe(true)
    expect(() => reports({}, { INMESH_TRAFFIC: 'maybe' })).toThrow(/traffic: .*INMESH_TRAFFIC/)
    expect(() => reports({ traffic: 'off' }, {})).toThrow(/traffic: /)
  })

  it('refuse to be tapped', () => {
    const tap = (options: object, env: object): boolean =>
      resolveMeshOptions({ service: 'inventory', ...options }, { ...env }).tap
    expect(tap({}, {})).toBe(true)
    expect(tap({}, { INMESH_TAP: 'false' })).toBe(false)
    expect(tap({ tap: true }, { INMESH_TAP: 'false' })).toBe(true)
    expect(() => tap({}, { INMESH_TAP: 'maybe' })).toThrow(/tap: .*INMESH_TAP/)
  })

  it('name the variable that is wrong, and never show a token', () => {
    const resolve = (): unknown =>
      resolveMeshOptions({ service: 'inventory' }, { INMESH_JOIN_TOKEN: `"${TOKEN}"`, INMESH_WEIGHT: 'heavy' })
    expect(resolve).toThrow(
      /joinToken: .*\(from INMESH_JOIN_TOKEN\); weight: .*got "heavy" \(from INMESH_WEIGHT\)|weight: .*INMESH_WEIGHT/,
    )
    expect(resolve).not.toThrow(/sssss/)
  })

  it('hold one address of a registry or several, and show a wrong one as it is', () => {
    const registries = (value: string): unknown =>
      resolveMeshOptions({ service: 'inventory' }, { INMESH_REGISTRY: value }).registry
    expect(registries('https://a:1')).toEqual(['https://a:1'])
    expect(registries('https://a:1, https://b:2')).toEqual(['https://a:1', 'https://b:2'])
    expect(() => registries('http://a:1')).toThrow(/registry: .*got "http:\/\/a:1" \(from INMESH_REGISTRY\)/)
  })

  it('that have no effect are warnings, once, if they read like one of ours', async () => {
    const warnings: string[] = []
    const hear = (warning: Error): void =>
      void (/^the variable/.test(warning.message) && warnings.push(warning.message))
    process.on('warning', hear)
    const env = {
      INMESH_DRAIN_TIMEOUT: '1s',
      INMESH_ADMINPORT: '1',
      INMESH_ADMIN_TOKEN: 'a',
      INMESH_REGISTRY_PORT: 'tcp://10.0.0.1:7400',
      INMESH_REGISTRY_SERVICE_HOST: '10.0.0.1',
      INMESH_SHELL_PROMPT: 'of somebody else',
    }
    for (let i = 0; i < 2; i++) resolveMeshOptions({ service: 'inventory' }, env)
    await new Promise(setImmediate)
    process.off('warning', hear)
    expect(warnings).toEqual([
      'the variable INMESH_DRAIN_TIMEOUT has no effect; give joinMesh the option drainTimeout',
      'the variable INMESH_ADMINPORT has no effect; did you mean INMESH_ADMIN_PORT?',
    ])
  })

  it('give way to options from code, which are named without a variable', () => {
    expect(() => resolveMeshOptions({ service: 'NO', weight: -1 }, { INMESH_SERVICE: 'yes' })).toThrow(
      /^joinMesh: service: expected .*got "NO"; weight: expected a whole number from 0 to 1000, got -1$/,
    )
  })
})
