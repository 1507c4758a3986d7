/** Links in the packaged pages lead to files in the package. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

function packed(): string[] {
  const options = { cwd: ROOT, encoding: 'utf8', timeout: 150_000 } as const
  const [{ files }] = JSON.parse(
    execFileSync('npm', ['pack', '--dry-run', '--ignore-scripts', '--json'], { ...options, stdio: 'pipe' }),
  ) as [{ files: { path: string }[] }]
  return files.map(({ path }) => path)
}

it('no page of the package has a link to what the package has not', { timeout: 180_000 }, () => {
  const files = packed()
  const pages = files.filter((path) => path.endsWith('.md'))
  expect(pages).toContain('docs/grpc.md')
  const dead = pages.flatMap((page) => {
    const links = [...readFileSync(join(ROOT, page), 'utf8').matchAll(/\]\(([^)#\s]+)/g)].map(([, link]) => link!)
    return links
      .filter((link) => !link.includes('://'))
      .map((link) => join(dirname(page), link))
      .filter((target) => !files.some((path) => path === target || path.startsWith(join(target, '/'))))
      .map((target) => `${page}: ${target}`)
  })
  expect(dead).toEqual([])
})
