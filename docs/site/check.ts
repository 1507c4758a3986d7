/**
 * Checks the built documentation: links lead to pages and anchors that exist, nothing is loaded
 * from elsewhere, and a browser finds, reads and draws without an error. `npm run docs` runs it.
 */
import { globSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { dirname, extname, join, normalize } from 'node:path'
import { NO_BROWSER, openBrowser, openPage } from '../../test/ui/browser.ts'
import { ROOT } from './navigation.ts'

const SITE = join(ROOT, 'docs/api')
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
}

/** Only a machine with much other work needs it. */
const PATIENCE_MS = 300_000

const files = new Map(
  globSync('**/*.{html,css}', { cwd: SITE }).map((file) => [file, readFileSync(join(SITE, file), 'utf8')]),
)
const present = new Set(globSync('**/*', { cwd: SITE }))

function anchorsOf(text: string): ReadonlySet<string> {
  return new Set([...text.matchAll(/\s(?:id|name)="([^"]+)"/g)].map(([, id]) => id!))
}

/** What a page would load from another host. */
function foreign(): readonly string[] {
  return [...files].flatMap(([file, text]) => {
    const found = file.endsWith('.css')
      ? text.matchAll(/(?:url\(|@import\s+)["']?(https?:\/\/[^"')]+)/g)
      : text.matchAll(/<(?:script|img|iframe|link|source|object)\b[^>]*\s(?:src|href|data)="((?:https?:)?\/\/[^"]+)"/g)
    return [...found].map(([, address]) => `${file} loads ${address}`)
  })
}

function deadLinks(): readonly string[] {
  return [...files].flatMap(([file, text]) => {
    const links = [...text.matchAll(/\s(?:href|src)="([^"]+)"/g)].map(([, link]) => link!.replaceAll('&amp;', '&'))
    return links
      .filter((link) => !/^(?:[a-z]+:|\/\/)/i.test(link))
      .flatMap((link) => {
        const [path, anchor] = link.split('#') as [string, string?]
        const place = normalize(join(dirname(file), decodeURIComponent(path)))
        const target = path === '' ? file : place === './' ? 'index.html' : place
        if (!present.has(target)) return [`${file} links to ${link}, which does not exist`]
        const html = files.get(target)
        if (!anchor || html === undefined || anchorsOf(html).has(decodeURIComponent(anchor))) return []
        return [`${file} links to ${link}, which has no such anchor`]
      })
  })
}

/** One page with pictures, and one search. */
async function seenByBrowser(): Promise<readonly string[]> {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url!, 'http://site').pathname).slice(1)
    const file = path === '' ? 'index.html' : path
    if (!present.has(file)) {
      response.writeHead(file === 'favicon.ico' ? 204 : 404).end()
      return
    }
    response.setHeader('content-type', TYPES[extname(file)] ?? 'text/plain')
    response.end(readFileSync(join(SITE, file)))
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const origin = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  const browser = await openBrowser()
  try {
    const { page, faults } = await openPage(browser, origin)
    page.setDefaultTimeout(PATIENCE_MS)
    await page.goto(`${origin}/architecture.html`)
    await page.waitForFunction("document.querySelectorAll('.picture svg').length === 4")
    await page.locator('#tsd-search-trigger').click()
    await page.locator('#tsd-search-input').fill('circuit breaker')
    await page.locator('#tsd-search-results li').first().waitFor()
    const results = (await page.locator('#tsd-search-results').textContent()) ?? ''
    if (!results.includes('Circuit breaker')) faults.push(`a search for 'circuit breaker' finds ${results}`)
    await page.locator('.tsd-navigation').getByText('Getting started').first().waitFor()
    return faults
  } finally {
    await browser.close()
    server.close()
  }
}

const mistakes = [...new Set([...foreign(), ...deadLinks()])]
if (NO_BROWSER === undefined) mistakes.push(...(await seenByBrowser()))
else console.log(`the browser's part is skipped: ${NO_BROWSER}`)
for (const mistake of mistakes) console.error(mistake)
if (files.size < 100) console.error(`only ${files.size} pages were built`)
if (mistakes.length > 0 || files.size < 100) process.exitCode = 1
