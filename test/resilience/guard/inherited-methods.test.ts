import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import * as resilience from '../../../src/resilience/index.ts'

const { circuits } = resilience

async function compiled<T>(source: string, experimentalDecorators: boolean): Promise<T> {
  const code = ts.transpileModule(`export function make({ circuitBreaker, retry, guarded }) {${source}}`, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, experimentalDecorators },
  }).outputText
  const { make } = await import(/* @vite-ignore */ `data:text/javascript,${encodeURIComponent(code)}`)
  return make(resilience) as T
}

interface Finder {
  down: boolean
  find(): Promise<string>
}
type FinderClass = (new () => Finder) & { all(): Promise<string>; isDown: boolean }

const BREAKER = `@circuitBreaker({ minimumCalls: 1, resetAfter: '1h' })`
const REPOSITORY = `
  class Repository {
    down = false
    ${BREAKER} async find() { if (this.down) throw new Error('down'); return 'found' }
    ${BREAKER} static async all() { if (this.isDown) throw new Error('down'); return 'all' }
  }
  class Users extends Repository {}
  class Orders extends Repository {}
`

describe.each([
  ['standard', false],
  ['experimental', true],
])('inherited methods, %s decorators', (_kind, experimental) => {
  it('have a breaker for each class, named after it', async () => {
    type Classes = Record<'Repository' | 'Users' | 'Orders', FinderClass>
    const { Repository, Users, Orders } = await compiled<Classes>(
      `${REPOSITORY} return { Repository, Users, Orders }`,
      experimental,
    )
    const users = Object.assign(new Users(), { down: true })
    await expect(users.find()).rejects.toThrow('down')
    await expect(users.find()).rejects.toMatchObject({ code: 'circuit-open', service: 'Users.find' })
    // Made in other ways, with a field of that name: still a user.
    const odd = Object.assign(Object.create(users) as Finder, { constructor: 'of houses' })
    await expect(odd.find()).rejects.toMatchObject({ code: 'circuit-open', service: 'Users.find' })
    expect(await new Orders().find()).toBe('found')
    expect(await new Repository().find()).toBe('found')

    Users.isDown = true
    await expect(Users.all()).rejects.toThrow('down')
    await expect(Users.all()).rejects.toMatchObject({ code: 'circuit-open', service: 'Users.all' })
    expect(await Orders.all()).toBe('all')
    expect(await Repository.all()).toBe('all')
  })

  it('are told from the one that overrides them and calls them', async () => {
    const name = `Overriding${experimental}`
    const { Sub } = await compiled<{ Sub: new () => { find(): Promise<string> } }>(
      `class Base { ${BREAKER} async find() { return 'base' } }
       class Sub extends Base { ${BREAKER} async find() { return 'sub of ' + await super.find() } }
       Object.defineProperty(Sub, 'name', { value: '${name}' })
       return { Sub }`,
      experimental,
    )
    expect(await new Sub().find()).toBe('sub of base')
    const names = circuits().map((circuit) => circuit.name)
    expect(names.filter((one) => one.startsWith(name)).sort()).toEqual([`${name}.find`, `${name}.find (of Base)`])
  })

  it('have breakers of their own in two classes of one name', async () => {
    const source = `class Prices { down = false; ${BREAKER} async find() { if (this.down) throw new Error('down'); return 'found' } } return Prices`
    const [One, Two] = [
      await compiled<FinderClass>(source, experimental),
      await compiled<FinderClass>(source, experimental),
    ]
    const one = Object.assign(new One(), { down: true })
    await expect(one.find()).rejects.toThrow('down')
    await expect(one.find()).rejects.toMatchObject({ code: 'circuit-open' })
    expect(await new Two().find()).toBe('found')
  })

  it('work under a symbol, and without an object', async () => {
    const { Keyed, key } = await compiled<{ Keyed: new () => Record<symbol, () => Promise<string>>; key: symbol }>(
      `const key = Symbol('find')
       class Keyed { ${BREAKER} async [key]() { return typeof this } }
       return { Keyed, key }`,
      experimental,
    )
    const { [key]: find } = new Keyed() as unknown as Record<symbol, (this: unknown) => Promise<string>>
    expect(await new Keyed()[key]!()).toBe('object')
    expect(await find!.call(undefined)).toBe('undefined')
    expect(circuits().some((circuit) => circuit.name === 'Keyed.Symbol(find)')).toBe(true)
  })
})

describe('standard decorators', () => {
  it('list the circuit of a class with its first object, also of private methods at their first call', async () => {
    const { Early } = await compiled<{ Early: new () => { ask(): Promise<string> } }>(
      `class Early {
         ${BREAKER} async find() {}
         @retry() ${BREAKER} async #secret() { return 'told' }
         ask() { return this.#secret() }
       }
       return { Early }`,
      false,
    )
    const names = (): string[] => circuits().map((circuit) => circuit.name)
    expect(names()).not.toContain('Early.find')
    const early = new Early()
    expect(names()).toContain('Early.find')
    expect(await early.ask()).toBe('told')
    expect(names()).toContain('Early.#secret')
  })
})
