import { describe, expect, it } from 'vitest'
import { InFlight, type ListLink } from '../../src/server/in-flight.ts'

class One implements ListLink<One> {
  listed = false
  previous: One | undefined = undefined
  next: One | undefined = undefined
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

function three(): { running: InFlight<One>; a: One; b: One; c: One } {
  const running = new InFlight<One>()
  const [a, b, c] = [new One('a'), new One('b'), new One('c')]
  for (const one of [a, b, c]) running.add(one)
  return { running, a, b, c }
}

const names = (running: InFlight<One>): string => [...running].map(({ name }) => name).join('')

describe('the requests in progress', () => {
  it('are told oldest first, whoever leaves in between', () => {
    for (const [leaves, left] of [
      ['a', 'bc'],
      ['b', 'ac'],
      ['c', 'ab'],
    ] as const) {
      const { running, ...ones } = three()
      expect(running.delete(ones[leaves])).toBe(true)
      expect(names(running)).toBe(left)
      expect(running.size).toBe(2)
    }
  })

  it('are none after all have left, and take up others then', () => {
    const { running, a, b, c } = three()
    for (const one of [b, a, c]) running.delete(one)
    expect(names(running)).toBe('')
    expect(running.size).toBe(0)
    running.add(b)
    running.add(a)
    expect(names(running)).toBe('ba')
  })

  it('do not count who leaves twice', () => {
    const { running, b } = three()
    running.delete(b)
    expect(running.delete(b)).toBe(false)
    expect(running.size).toBe(2)
  })

  it('can be gone through while they leave: who has left is not met, all others are', () => {
    const { running, a, b, c } = three()
    const met: string[] = []
    for (const one of running) {
      met.push(one.name)
      if (one === a) for (const gone of [a, b]) running.delete(gone)
    }
    expect(met).toEqual(['a', 'c'])
    expect([...running]).toEqual([c])
  })
})
