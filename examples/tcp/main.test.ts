import { expect, test } from 'vitest'
import { runExample } from '../../test/rigs/run-example.ts'
import { noPostgres, noRedis } from './servers.ts'

/** A real server starts first. */
const ENDS_WITHIN_MS = 90_000
const TEST_MS = ENDS_WITHIN_MS + 30_000
const [redisIsMissing, postgresIsMissing] = [noRedis(), noPostgres()]

test('ioredis reaches a real Redis by its name, over and over', { timeout: TEST_MS }, async ({ skip }) => {
  skip(redisIsMissing !== undefined, redisIsMissing)
  const { code, lines, complaints } = await runExample('examples/tcp/redis.ts', ENDS_WITHIN_MS)
  expect({ code, complaints }).toEqual({ code: 0, complaints: '' })
  expect(lines).toEqual([
    'get basket:7: two apples',
    'incr orders: 1000',
    'get large: 5000000 bytes',
    'heard: an order',
    'connected again',
  ])
})

test('pg reaches a real PostgreSQL by its name, with a pool', { timeout: TEST_MS }, async ({ skip }) => {
  skip(postgresIsMissing !== undefined, postgresIsMissing)
  const { code, lines, complaints } = await runExample('examples/tcp/postgres.ts', ENDS_WITHIN_MS)
  expect({ code, complaints }).toEqual({ code: 0, complaints: '' })
  expect(lines).toEqual(['orders: 100, over 5 connections', 'after a rollback: order 42', 'a large row: 5000000 bytes'])
})
