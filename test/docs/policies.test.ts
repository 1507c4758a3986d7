/** What the pages of policies say of names, defaults and ways back is true of the code. */
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { resolvePolicy } from '../../src/discovery/policy-document.ts'
import { BALANCER_NAMES } from '../../src/resilience/balancing-settings.ts'
import { SERVICE } from '../../src/resilience/settings.ts'
import { Page } from './page.ts'

const PAGES = readdirSync(fileURLToPath(new URL('../../docs/policies', import.meta.url)))
  .filter((name) => name.endsWith('.md'))
  .map((name) => ({ name, text: new Page(`policies/${name}`).text }))

/** The cells of the rows of the first table below a heading. */
function table(text: string, heading: string): readonly (readonly string[])[] {
  const section = text.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
  const rows = section.split('\n').filter((line) => line.startsWith('|'))
  return rows.slice(2).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

describe('the pages of policies', () => {
  it('list all balancers, in the order of the error that lists them, and the default', () => {
    const { text } = PAGES.find(({ name }) => name === 'balancers.md')!
    const names = table(text, 'When to use which').map(([name]) => name!)
    expect(names.map((name) => name.match(/^`([a-z-]+)`/)![1])).toEqual([...BALANCER_NAMES])
    expect(names.filter((name) => name.endsWith('(default)'))).toEqual([
      `\`${SERVICE.resolve(undefined).balancer}\` (default)`,
    ])
  })

  const changed = PAGES.filter(({ text }) => text.includes('\n## What changed\n'))

  it('say what changed where behaviour did', () => {
    expect(changed.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['balancers.md', 'ejection.md', 'subset-zone-slow-start.md']),
    )
  })

  it.each(changed)('name ways back that documents take, and that change something: $name', ({ text }) => {
    const usual = JSON.stringify(resolvePolicy(null, { service: 'inventory' }).settings)
    const rows = table(text, 'What changed')
    expect(rows.length).toBeGreaterThan(0)
    for (const row of rows) {
      expect(row).toHaveLength(4)
      const back = row[3]!
      const ways = [...back.matchAll(/`([^`]+)`/g)].map(([, way]) => way!)
      if (ways.length === 0) expect(back).toBe('none')
      for (const way of ways) {
        const { settings } = resolvePolicy(null, { service: 'inventory', ...parse(way) })
        expect(JSON.stringify(settings), way).not.toBe(usual)
      }
    }
  })
})
