import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { BALANCER_NAMES } from '../../src/resilience/balancing-settings.ts'

const SOURCES = new URL('../../src/resilience/', import.meta.url)
const PAGES = new URL('../../docs/policies/', import.meta.url)

/** By the name of the description in the code: its page, and how its keys are written there. */
const PAGE: Readonly<Record<string, readonly [page: string, prefix: string]>> = {
  ADAPTIVE_LIMIT_FIELDS: ['concurrency-limit.md', 'limits.concurrency.'],
  BACKOFF_FIELDS: ['retry.md', 'retry.backoff.'],
  BULKHEAD_FIELDS: ['bulkhead.md', 'bulkhead.'],
  CIRCUIT_BREAKER_FIELDS: ['circuit-breaker.md', 'circuitBreaker.'],
  CONCURRENCY_LIMIT_FIELDS: ['concurrency-limit.md', 'limits.'],
  EJECTION_FIELDS: ['ejection.md', 'ejection.'],
  HEALTH_CHECK_FIELDS: ['health-check.md', 'healthCheck.'],
  HEDGE_FIELDS: ['hedge.md', 'hedge.'],
  RATE_LIMIT_FIELDS: ['rate-limit.md', 'rateLimit.'],
  RETRY_BUDGET_FIELDS: ['retry.md', 'retry.budget.'],
  RETRY_FIELDS: ['retry.md', 'retry.'],
  THROTTLE_FIELDS: ['client-throttle.md', 'throttle.'],
}

/** Made of the others: a whole service, what its servers take on, how its endpoints are chosen. */
const COMPOSED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  BALANCING_FIELDS: {
    balancer: 'balancers.md',
    zone: 'subset-zone-slow-start.md',
    subset: 'subset-zone-slow-start.md',
    slowStart: 'subset-zone-slow-start.md',
  },
  LIMITS_FIELDS: {
    'limits.concurrency': 'concurrency-limit.md',
    'limits.shares': 'concurrency-limit.md',
    'limits.rate': 'rate-limit.md',
  },
  SERVICE_FIELDS: {
    timeout: 'deadline-and-timeout.md',
    idleTimeout: 'deadline-and-timeout.md',
    retry: 'retry.md',
    circuitBreaker: 'circuit-breaker.md',
    hedge: 'hedge.md',
    throttle: 'client-throttle.md',
    ejection: 'ejection.md',
    healthCheck: 'health-check.md',
    balancer: 'balancers.md',
    zone: 'subset-zone-slow-start.md',
    subset: 'subset-zone-slow-start.md',
    slowStart: 'subset-zone-slow-start.md',
    limits: 'concurrency-limit.md',
    faults: 'fault-injection.md',
  },
}

interface Described {
  readonly optional: boolean
  readonly schema: { readonly default?: unknown }
}

const descriptions = await load()

async function load(): Promise<Map<string, Readonly<Record<string, Described>>>> {
  const found = new Map<string, Readonly<Record<string, Described>>>()
  for (const file of readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || file.endsWith('.d.ts')) continue
    const source = readFileSync(new URL(file, SOURCES), 'utf8')
    const names = [...source.matchAll(/^export const (\w+_FIELDS)\b/gm)].map(([, name]) => name!)
    if (names.length === 0) continue
    const module = (await import(new URL(file, SOURCES).href)) as Record<string, { shape?: object }>
    for (const name of names) {
      found.set(name, (module[name]!.shape ?? module[name]) as Readonly<Record<string, Described>>)
    }
  }
  return found
}

function read(page: string): string {
  return readFileSync(new URL(page, PAGES), 'utf8')
}

/** The row of a table that begins with `key`, as its cells. */
function row(page: string, key: string): string[] | undefined {
  const line = read(page)
    .split('\n')
    .find((each) => each.startsWith(`| \`${key}\` `))
  return line?.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '').trim())
}

describe('the pages of the policies', () => {
  it('know every description of options in the code', () => {
    expect([...descriptions.keys()].toSorted()).toEqual([...Object.keys(PAGE), ...Object.keys(COMPOSED)].toSorted())
  })

  it.each(Object.entries(PAGE))('document every key of %s with its default', (name, [page, prefix]) => {
    for (const [key, field] of Object.entries(descriptions.get(name)!)) {
      if (isComposed(field)) continue
      const cells = row(page, `${prefix}${key}`)
      expect(cells, `${page}: ${prefix}${key}`).toBeDefined()
      const fallback = field.schema.default
      if (fallback === undefined) continue
      // What follows is how functions differ.
      const [documented] = cells!.at(-1)!.split(';')
      expect(documented!.replaceAll(/[`']/g, ''), `${page}: ${prefix}${key}`).toBe(shown(fallback))
    }
  })

  it.each(Object.entries(COMPOSED))('document every key of %s', (name, keys) => {
    const prefix = name === 'LIMITS_FIELDS' ? 'limits.' : ''
    const there = Object.keys(descriptions.get(name)!).map((key) => `${prefix}${key}`)
    expect(there.toSorted()).toEqual(Object.keys(keys).toSorted())
    for (const [key, page] of Object.entries(keys)) expect(read(page), `${page}: ${key}`).toContain(`\`${key}`)
  })

  it('name every balancer', () => {
    for (const name of BALANCER_NAMES) expect(row('balancers.md', name), name).toBeDefined()
  })

  it('are all in the index', () => {
    const linked = [...read('README.md').matchAll(/^\| \[[^\]]+\]\(([\w-]+\.md)\)/gm)].map(([, page]) => page!)
    const there = readdirSync(PAGES).filter((file) => file !== 'README.md')
    expect(linked.toSorted()).toEqual(there.toSorted())
  })
})

/** Its keys have rows of their own. */
function isComposed(field: Described): boolean {
  const value = field.schema.default
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}

function shown(value: unknown): string {
  return Array.isArray(value) ? `[${value.join(', ')}]` : String(value)
}
