/** The built page: small, whole, and from nowhere else. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { expect, it } from 'vitest'

const DIRECTORY = fileURLToPath(new URL('../../dist/ui/', import.meta.url))
const MOST_BYTES = 400 * 1_024

function filesOf(pattern: RegExp): Buffer[] {
  return readdirSync(DIRECTORY, { recursive: true, encoding: 'utf8' })
    .filter((name) => pattern.test(name))
    .map((name) => readFileSync(join(DIRECTORY, name)))
}

it('the page is smaller than 400 KB gzipped', () => {
  const files = filesOf(/\.(?:html|js|css|svg)$/)
  expect(files.length).toBeGreaterThanOrEqual(4)
  const bytes = files.reduce((sum, file) => sum + gzipSync(file).length, 0)
  expect(bytes).toBeLessThan(MOST_BYTES)
})

it('no file loads anything from another address', () => {
  for (const file of filesOf(/\.(?:html|js|css)$/)) {
    const urls = [...file.toString().matchAll(/(?:https?:)?\/\/[a-z0-9.-]+\.[a-z]{2,}[^\s"'`)]*/gi)].map(([url]) => url)
    // Names of XML's languages, which nothing fetches.
    expect(urls.filter((url) => !/^https?:\/\/www\.w3\.org\//.test(url))).toEqual([])
  }
})

it('what is bundled has its notices', () => {
  const notices = readFileSync(join(DIRECTORY, 'licenses.md'), 'utf8')
  for (const name of ['preact', 'uplot', '@dagrejs/dagre']) expect(notices).toContain(`## ${name} - `)
})
