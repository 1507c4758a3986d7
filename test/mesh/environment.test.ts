import { describe, expect, it } from 'vitest'
import { resolveMeshOptions } from '../../src/mesh/options.ts'

const TOKEN = `inmesh-join.${'s'.repeat(27)}.${'f'.repeat(43)}`

describe('options from variables', () => {
  it('forgive white space, and take an empty variable for none', () => {
    const settings = resolveMeshOptions(
      { service: 'inventory' },
      { INMESH_JOIN_TOKEN: ` ${TOKEN}\n`, INMESH_REGISTRY: '', INMESH_ZONE: ' a ', INMESH_WEIGHT: '' },
    )
    expect(settings).toMatchObject({ joinToken: TOKEN, registry: ['https://127.0.0.1:7400'], zone: 'a', weight: 100 })
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

  it('give way to options from code, which are named without a variable', () => {
    expect(() => resolveMeshOptions({ service: 'NO', weight: -1 }, { INMESH_SERVICE: 'yes' })).toThrow(
      /^joinMesh: service: expected .*got "NO"; weight: expected a whole number from 0 to 1000, got -1$/,
    )
  })
})
