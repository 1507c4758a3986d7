import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { callKey } from '../../src/resilience/call-key.ts'
import { guarded } from '../../src/resilience/decorators.ts'
import { guard } from '../../src/resilience/guard.ts'
import { ownArguments } from '../../src/resilience/own-arguments.ts'

interface Query {
  user: string
  tags: string[]
}

const ask = async (query: Query): Promise<string> => {
  await turn()
  return `${query.user} ${query.tags}`
}

class Orders {
  async find(query: Query): Promise<string> {
    return ask(query)
  }
}

// As a compiler applies `@guarded` with experimentalDecorators.
const method = Object.getOwnPropertyDescriptor(Orders.prototype, 'find')!
const decorate = guarded({ cache: '1m' }) as unknown as (
  target: object,
  name: string,
  method: PropertyDescriptor,
) => PropertyDescriptor | undefined
Object.defineProperty(Orders.prototype, 'find', decorate(Orders.prototype, 'find', method) ?? method)

const FUNCTIONS: Record<string, () => (query: Query) => Promise<string>> = {
  'a guarded function': () => guard(ask, { cache: '1m' }),
  'a guarded function that waits for a permit': () => {
    const find = guard(ask, { cache: '1m', bulkhead: { concurrency: 1, queue: 9 } })
    void find({ user: 'first', tags: [] })
    return find
  },
  'a decorated method': () => {
    const orders = new Orders()
    return (query) => orders.find(query)
  },
}

describe('an argument that its caller uses again', () => {
  it.each(Object.entries(FUNCTIONS))('changes no result that is kept or shared: %s', async (_name, make) => {
    const find = make()
    const query = { user: 'a', tags: ['x'] }
    const answers = [find(query), find({ user: 'a', tags: ['x'] })]
    query.user = 'b'
    query.tags.push('y')
    expect(await Promise.all(answers)).toEqual(['a x', 'a x'])
    expect([await find({ user: 'a', tags: ['x'] }), await find(query)]).toEqual(['a x', 'b x,y'])
  })

  it('is passed as it is if nothing is shared, or by a key of the caller', async () => {
    const query = {}
    const same = async (given: object): Promise<boolean> => given === query
    expect(await guard(same, { timeout: '1s' })(query)).toBe(true)
    expect(await guard(same, { cache: '1m', key: () => 'a' })(query)).toBe(true)
  })
})

describe('copies of arguments', () => {
  it('have the same contents, of the same kinds', () => {
    const hole: unknown[] = [1, 2]
    delete hole[0]
    const bare = Object.assign(Object.create(null) as object, { a: [new Date(5)] })
    const odd = JSON.parse('{"__proto__":{"a":1},"b":null}') as object
    const args = ['text', -0, 1n, null, undefined, hole, bare, odd, { at: new Date(0), list: [{ a: undefined }] }]
    const own = ownArguments(args)
    expect(callKey(undefined, own)).toBe(callKey(undefined, args))
    expect(own).toEqual(args)
    for (const [i, arg] of args.entries()) if (typeof arg === 'object' && arg !== null) expect(own[i]).not.toBe(arg)
  })

  it('are none if all are values', () => {
    const args = ['a', 1, null]
    expect(ownArguments(args)).toBe(args)
  })
})
