import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

const warnings: Error[] = []
/** Others of this process may warn as well. */
const onWarning = (warning: Error & { code?: string }): void => {
  if (warning.code === 'INMESH_FORMER_NAME') warnings.push(warning)
}
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

beforeEach(() => {
  vi.resetModules()
  warnings.length = 0
  process.on('warning', onWarning)
})
afterEach(() => process.off('warning', onWarning))

describe('a former name of an option', () => {
  it('of a registry is honoured, with one warning that names the new one', async () => {
    const { resolveRegistryOptions } = await import('../../src/registry/options.ts')
    const former = { leaseMs: '2s', certificateLifeMs: 60_000 } as const
    expect(resolveRegistryOptions(former)).toMatchObject({ leaseMs: 2_000, certificateLifeMs: 60_000 })
    expect(resolveRegistryOptions({ leaseMs: 900 })).toMatchObject({ leaseMs: 900 })
    await settled()
    expect(warnings).toMatchObject([
      { name: 'DeprecationWarning', code: 'INMESH_FORMER_NAME', message: expect.stringContaining("called 'lease'") },
      { name: 'DeprecationWarning', message: expect.stringContaining("called 'certificateLife'") },
    ])
  })

  it('of a process is honoured in code and in the environment', async () => {
    const { resolveMeshOptions } = await import('../../src/mesh/resolve-options.ts')
    expect(resolveMeshOptions({ service: 'a', startWithout: true }, {}).startWithoutRegistry).toBe(true)
    const variables = { INMESH_START_WITHOUT: 'true' }
    expect(resolveMeshOptions({ service: 'a' }, variables).startWithoutRegistry).toBe(true)
    expect(resolveMeshOptions({ service: 'a', startWithoutRegistry: false }, variables).startWithoutRegistry).toBe(
      false,
    )
    await settled()
    expect(warnings.map(({ message }) => message)).toEqual([
      expect.stringMatching(/'startWithout' .*'startWithoutRegistry'/),
      expect.stringMatching(/'INMESH_START_WITHOUT' .*'INMESH_START_WITHOUT_REGISTRY'/),
    ])
  })

  it('beside the new one is an error that names both', async () => {
    const { resolveRegistryOptions } = await import('../../src/registry/options.ts')
    const { resolveMeshOptions } = await import('../../src/mesh/resolve-options.ts')
    expect(() => resolveRegistryOptions({ lease: '1s', leaseMs: 1_000 })).toThrow(/leaseMs: .*'lease'/)
    expect(() => resolveMeshOptions({ service: 'a', startWithout: true, startWithoutRegistry: true }, {})).toThrow(
      /startWithout: .*'startWithoutRegistry'/,
    )
    const both = { INMESH_START_WITHOUT: '1', INMESH_START_WITHOUT_REGISTRY: '1' }
    expect(() => resolveMeshOptions({ service: 'a' }, both)).toThrow(
      /INMESH_START_WITHOUT: .*'INMESH_START_WITHOUT_REGISTRY'/,
    )
    await settled()
    expect(warnings).toEqual([])
  })

  it('that is undefined is as good as none', async () => {
    const { resolveRegistryOptions } = await import('../../src/registry/options.ts')
    const options = { lease: '1s', leaseMs: undefined } as object
    expect(resolveRegistryOptions(options)).toMatchObject({ leaseMs: 1_000 })
    await settled()
    expect(warnings).toEqual([])
  })
})
