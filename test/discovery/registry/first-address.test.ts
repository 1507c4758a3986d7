import { describe, expect, test } from 'vitest'
import { MeshError } from '../../../src/core/errors.ts'
import { firstAddress } from '../../../src/discovery/registry/first-address.ts'
import { STAGGER_MS } from '../../../src/discovery/registry/staggered-start.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

const away = (address: string) => new MeshError(`${address} is away`, { code: 'registry-unavailable' })
const refused = new MeshError('no', { code: 'join-refused' })
const isFinal = (error: unknown): boolean => error === refused

function search(answers: Record<string, string | Error | 'silence'>, timeoutMs = 5_000) {
  const clock = new FakeClock()
  const asked: [string, number][] = []
  const aborted: string[] = []
  const found = firstAddress(
    Object.keys(answers).map((url) => ({ url, ip: undefined })),
    ({ url: address }, signal) => {
      asked.push([address, clock.now()])
      signal.addEventListener('abort', () => aborted.push(address))
      const answer = answers[address]!
      if (answer === 'silence') return new Promise<string>(() => {})
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer)
    },
    { clock, timeoutMs, isFinal },
  )
  return { clock, asked, aborted, found }
}

describe('several addresses', () => {
  test('the next one is asked beside one that is silent, and the first answer counts', async () => {
    const { clock, asked, aborted, found } = search({ a: 'silence', b: 'hello', c: 'never' })
    await clock.settle(STAGGER_MS)
    expect(await found).toEqual({ target: { url: 'b', ip: undefined }, answer: 'hello' })
    expect(asked).toEqual([
      ['a', 0],
      ['b', STAGGER_MS],
    ])
    expect(aborted).toContain('a')
    expect(clock.timers).toBe(0)
  })

  test('the next one is asked at once when one fails', async () => {
    const { asked, found } = search({ a: away('a'), b: 'hello' })
    expect((await found).target.url).toBe('b')
    expect(asked.map(([, at]) => at)).toEqual([0, 0])
  })

  test('a refusal ends the search', async () => {
    const { asked, found, clock } = search({ a: refused, b: 'hello' })
    await expect(found).rejects.toBe(refused)
    expect(asked).toHaveLength(1)
    expect(clock.timers).toBe(0)
  })

  test('the whole search is bounded, and names the addresses', async () => {
    const { clock, found } = search({ a: 'silence', b: 'silence' }, 1_000)
    const failed = expect(found).rejects.toMatchObject({
      code: 'registry-unavailable',
      message: 'no answer from a, b within 1000 ms',
    })
    await clock.settle(1_000)
    await failed
    expect(clock.timers).toBe(0)
  })

  test('when all fail, the first failure is told', async () => {
    const { found } = search({ a: away('a'), b: away('b') })
    await expect(found).rejects.toThrow('a is away')
  })
})
