import { expect, it } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { Xoroshiro } from '../../src/core/xoroshiro.ts'

it('yields the sequence of xoroshiro64*', () => {
  // By exact integers, after the definition of Blackman and Vigna.
  const small = new Xoroshiro(1, 2)
  expect(Array.from({ length: 6 }, () => small.next() * 2 ** 32)).toEqual([
    2654435771, 327208753, 4063491769, 4259754937, 261922412, 168123673,
  ])
  const large = new Xoroshiro(0xdeadbeef, 0x12345678)
  expect(Array.from({ length: 4 }, () => large.next() * 2 ** 32)).toEqual([
    1333948309, 2335124196, 3171501386, 1573225110,
  ])
})

it('fills [0, 1) evenly, and so do pairs that follow each other', () => {
  const numbers = new Xoroshiro(0x9e3779b9, 7)
  const cells = new Uint32Array(100)
  const draws = 100_000
  let outside = 0
  for (let i = 0; i < draws; i++) {
    const one = numbers.next()
    const other = numbers.next()
    if (one < 0 || one >= 1 || other < 0 || other >= 1) outside += 1
    cells[Math.floor(one * 10) * 10 + Math.floor(other * 10)]! += 1
  }
  expect(outside).toBe(0)
  const mean = draws / cells.length
  const chiSquared = cells.reduce((sum, count) => sum + (count - mean) ** 2 / mean, 0)
  // 99 degrees of freedom: 0.1 % lie below 60, and 0.1 % above 149.
  expect(chiSquared).toBeGreaterThan(60)
  expect(chiSquared).toBeLessThan(149)
})

it('each seed of the system clock yields other numbers', () => {
  const firsts = new Set(Array.from({ length: 100 }, () => Xoroshiro.seeded().next()))
  expect(firsts.size).toBeGreaterThan(98)
  const drawn = new Set(Array.from({ length: 1_000 }, () => systemClock.random()))
  expect(drawn.size).toBeGreaterThan(990)
})
