/** Files that pages name in backticks exist. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
/** Decisions and the changelog say what was true when they were written. */
const PAGES = ['*.md', 'docs/*.md', 'docs/policies/*.md', 'docs/decisions/*.md', '.github/**/*.md']
const PATH = /`((?:\.ci|\.github|bench|docs|examples|lint|src|test)\/[^\s`*<>:]*)`/g

const pages = globSync(PAGES, { cwd: ROOT }).filter((page) => page !== 'CHANGELOG.md')

function pathsIn(page: string): string[] {
  return [...readFileSync(join(ROOT, page), 'utf8').matchAll(PATH)].map(([, path]) => path!)
}

it('every file that a page names exists', () => {
  expect(pages).toContain('CONTRIBUTING.md')
  expect(pathsIn('docs/architecture.md').length).toBeGreaterThan(40)
  const missing = pages.flatMap((page) =>
    pathsIn(page)
      .filter((path) => !existsSync(join(ROOT, path)))
      .map((path) => `${page}: ${path}`),
  )
  expect(missing).toEqual([])
})

it('the architecture lists the rooms that there are', () => {
  const rooms = globSync('src/*/', { cwd: ROOT }).map((room) => `${room.replace(/\/$/, '')}/`)
  const listed = new Set(pathsIn('docs/architecture.md'))
  expect(rooms.filter((room) => !listed.has(room))).toEqual([])
})

it('no page and no comment cites a page outside the repository', () => {
  const files = globSync(['*.md', '{docs,src,test,bench,lint,examples}/**/*.{md,ts}'], {
    cwd: ROOT,
    exclude: (name) => name.includes('node_modules'),
  })
  const outside = /\b(?:faults-and-attacks|algorithms\.md|node-dependencies|control-plane \d|design\.md)\b/
  const citing = files.filter(
    (file) => file !== 'test/package/paths.test.ts' && outside.test(readFileSync(join(ROOT, file), 'utf8')),
  )
  expect(citing).toEqual([])
})
