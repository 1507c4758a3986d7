import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  type DocumentedOption,
  documentedOptions,
  flat,
  PAGES,
  pageNames,
  withTables,
} from '../../lint/option-tables.ts'
import { BALANCER_NAMES } from '../../src/resilience/balancing-settings.ts'

const options = documentedOptions()
const pages = pageNames().filter((name) => name !== 'README.md')

function read(page: string): string {
  return readFileSync(new URL(page, PAGES), 'utf8')
}

/** The default as TSDoc writes it, without what follows: a source, or how functions differ. */
function stated(option: DocumentedOption): string | undefined {
  return /^`([^`]*)`/.exec(option.fallback ?? '')?.[1]
}

function asWritten(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(asWritten).join(', ')}]`
  return typeof value === 'string' ? `'${value}'` : String(value)
}

describe('the documentation of the options', () => {
  it('reaches every option of a service and of a function', () => {
    const paths = flat(options).map(({ path }) => path)
    expect(paths).toEqual(expect.arrayContaining(['timeout', 'retry.budget.ratio', 'balancer.key.header']))
    expect(paths).toEqual(expect.arrayContaining(['faults[].delay', 'limits.concurrency.min', 'rateLimit.burst']))
    expect(paths.length).toBeGreaterThan(60)
  })

  it.each(flat(options).filter(({ parts }) => parts.length === 0))('describes $path', ({ what, fallback }) => {
    expect(what).toMatch(/^(?:[`A-Z]|gRPC).*\.$/)
    expect(fallback).toBeDefined()
  })

  it.each(flat(options).filter(({ schema, parts }) => schema?.default !== undefined && parts.length === 0))(
    'states the default of $path',
    (option) => {
      expect(stated(option)).toBe(asWritten(option.schema!.default))
    },
  )
})

describe('the pages of the policies', () => {
  it.each(pages)('%s has the tables of the definitions (`npm run docs:tables` writes them)', (page) => {
    expect(read(page)).toBe(withTables(read(page), options))
  })

  it('have a row for every option', () => {
    const all = pages.map(read).join('\n')
    const missing = flat(options).filter(({ path, parts }) => parts.length === 0 && !all.includes(`\n| \`${path}\` |`))
    expect(missing.map(({ path }) => path)).toEqual([])
  })

  it('name every balancer', () => {
    for (const name of BALANCER_NAMES) expect(read('balancers.md'), name).toContain(`\n| \`${name}\``)
  })

  it('are all in the index', () => {
    const linked = [...read('README.md').matchAll(/^\| \[[^\]]+\]\(([\w-]+\.md)\)/gm)].map(([, page]) => page!)
    const policies = pages.filter((page) => !page.startsWith('../'))
    expect(linked.toSorted()).toEqual(policies.toSorted())
  })
})
