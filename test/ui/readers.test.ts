/**
 * The page in a browser, on a mesh that members only report: keyboard, names and contrast, texts
 * that try to be markup, other origins, and the cookie.
 */
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import type { TrafficSeries } from '../../src/telemetry/traffic/traffic-message.ts'
import { titleWith } from '../rigs/installed.ts'
import { request, TestSession } from '../rigs/registry-session.ts'
import { faultsOf, walk } from './accessible.ts'
import { BREAK_IN } from './break-in.ts'
import { logIn, NO_BROWSER, openBrowser, openPage, type WatchedPage } from './browser.ts'

const WAIT = { timeout: 45_000, interval: 500 }
const MARKUP = '<img src=x onerror=alert(1)>'
const VIEWS = ['graph', 'service?service=inventory', 'service', 'events', 'mesh']

let registry: Registry
let browser: Browser
let watched: WatchedPage
let page: Page
const sessions: TestSession[] = []

/** A process that has called some services for five seconds. */
async function report(service: string, series: readonly TrafficSeries[], greeting = {}): Promise<TestSession> {
  const session = await TestSession.open(registry, service, undefined, {
    process: `${service} 1`,
    traffic: true,
    ...greeting,
  })
  session.send({ type: 'traffic', sequence: 1, forMs: 5_000, series })
  sessions.push(session)
  return session
}

function calls(to: string, codes: Readonly<Record<string, number>> = {}): TrafficSeries {
  return { to, protocol: 'http', method: 'GET', version: 'v1', tls: true, calls: 100, codes }
}

/** What the graph shows, for a minute or so. */
async function callSome(): Promise<void> {
  await report('web', [calls('checkout'), calls('inventory', { timeout: 1 })])
  await report('checkout', [calls('inventory'), calls('prices', { 'circuit-open': 60 })])
}

beforeAll(async () => {
  if (NO_BROWSER !== undefined) return
  registry = await startRegistry({ port: 0, uiPort: 0, memory: true, log: false, lease: '30s', joinsPerSecond: 1_000 })
  await registry.applyPolicies([
    { service: 'mesh', defaultIntention: 'deny' },
    { service: 'inventory', allow: [{ from: 'checkout', methods: ['GET'] }], timeout: '1s' },
  ])
  await registry.applyPolicies([
    { service: 'inventory', allow: [{ from: 'checkout', methods: ['GET'] }], timeout: '2s' },
  ])
  browser = await openBrowser()
  watched = await openPage(browser, new URL(registry.uiUrl).origin)
  page = watched.page
  await logIn(watched, registry.uiUrl, registry.adminToken!)
}, 180_000)

afterAll(async () => {
  await browser?.close()
  for (const session of sessions) session.close()
  await registry?.close()
})

function test(title: string, body: () => Promise<void>): void {
  it.skipIf(NO_BROWSER !== undefined)(titleWith(NO_BROWSER, title), { timeout: 240_000 }, body)
}

async function show(place: string, of: Page = page): Promise<void> {
  await of.goto(`${new URL(of.url()).origin}/ui/#/${place}`)
}

function row(edge: string): ReturnType<Page['locator']> {
  return page.locator(`tr[data-edge="${edge}"]`)
}

const READ_STORES = `[
  document.cookie,
  JSON.stringify({ ...localStorage }),
  JSON.stringify({ ...sessionStorage }),
  document.documentElement.outerHTML,
]`

test('in each view controls have names, tables captions, and texts contrast, in light and dark', async () => {
  await callSome()
  await show('graph')
  await expect.poll(() => page.locator('.picture [data-edge]').count(), WAIT).toBe(4)
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    for (const view of VIEWS) {
      await show(view)
      await page.locator('main :is(table, .hint)').first().waitFor()
      await expect.poll(() => faultsOf(page), WAIT).toEqual({ names: [], tables: [], contrasts: [] })
    }
  }
  await page.emulateMedia({ colorScheme: null })
})

test('the tab key reaches each control of each view, and one sees where it is', async () => {
  await page.emulateMedia({ reducedMotion: 'reduce' })
  for (const view of VIEWS) {
    await show(view)
    await page.locator('main :is(table, .hint)').first().waitFor()
    await expect.poll(() => walk(page), WAIT).toMatchObject({ unseen: [], isWhole: true })
  }
  await page.emulateMedia({ reducedMotion: null })
})

test('who wants no motion sees none', async () => {
  await callSome()
  await show('graph')
  const count = 'document.getAnimations().filter((one) => one.playState === "running").length'
  await expect.poll(() => page.evaluate<number>(count), WAIT).toBeGreaterThan(0)
  await page.emulateMedia({ reducedMotion: 'reduce' })
  await expect.poll(() => page.evaluate<number>(count)).toBe(0)
  await page.emulateMedia({ reducedMotion: null })
})

test('the last hour is replayed by keyboard alone', async () => {
  await show('graph')
  const at = (): number => Number(/[?&]at=(\d+)/.exec(page.url())?.[1] ?? 0)
  await page.getByRole('slider', { name: 'Moment of the last hour' }).focus()
  await page.keyboard.press('Home')
  await expect.poll(at).toBeGreaterThan(0)
  const oldest = at()
  await page.keyboard.press('PageUp')
  await expect.poll(at).toBeGreaterThan(oldest)
  const chosen = at()
  const replay = page.getByRole('button', { name: 'Replay' })
  await replay.focus()
  await page.keyboard.press('Space')
  await expect.poll(at, WAIT).toBeGreaterThanOrEqual(chosen + 30_000)
  await page.keyboard.press('Space')
  await replay.waitFor()
  const paused = at()
  await page.getByRole('button', { name: 'Live' }).focus()
  await page.keyboard.press('Enter')
  await expect.poll(at).toBe(0)
  expect(paused).toBeGreaterThan(chosen)
})

test('the keyboard alone leads from the graph to a service', async () => {
  await callSome()
  await show('graph')
  await page.locator('.picture a[data-service="prices"]').focus()
  await page.keyboard.press('Enter')
  await expect.poll(() => page.getByRole('heading', { level: 2, name: 'prices' }).count()).toBe(1)
})

test('names, versions and texts of members that are markup are shown as they are', async () => {
  const series: TrafficSeries = {
    ...{ to: 'inventory', protocol: 'http', method: 'GET', route: MARKUP, version: MARKUP },
    ...{ calls: 100, codes: { timeout: 50 } },
  }
  await report('intruder', [series], { process: MARKUP })
  await request(registry, 'POST', '/v1/join', { body: { service: MARKUP, csr: MARKUP, token: MARKUP } })
  const headers = { request: { set: { 'x-b': MARKUP } } }
  const routes = [{ name: 'marked', match: [{ headers: { 'x-a': MARKUP } }], headers, to: 'v1' }]
  await registry.applyPolicies([{ service: 'catalog', subsets: { v1: { version: 'v1' } }, routes }])
  await show('graph')
  await expect.poll(() => row('intruder inventory').allInnerTexts(), WAIT).toEqual([expect.stringContaining(MARKUP)])
  await show('service?service=inventory')
  await expect.poll(() => page.getByRole('rowheader', { name: MARKUP }).count(), WAIT).toBe(1)
  await show('service?service=catalog')
  await expect.poll(() => page.locator('.changes').innerText(), WAIT).toContain(MARKUP)
  await show('events')
  await expect.poll(() => page.locator('tr[data-event="refused join"]').count(), WAIT).toBeGreaterThan(0)
  await show(`graph?filter=${encodeURIComponent(MARKUP)}&service=${encodeURIComponent(MARKUP)}`)
  await expect.poll(() => page.getByLabel('Filter').inputValue()).toBe(MARKUP)
  await expect.poll(() => page.getByText('No service matches.').count()).toBe(1)
  expect(await page.locator('img, iframe, script:not([src])').count()).toBe(0)
})

test('no script reads the session, and neither a store nor an address keeps the token', async () => {
  const token = registry.adminToken!
  await page.goto(`${registry.uiUrl}#/graph?token=${token}`)
  await expect.poll(() => page.url()).toMatch(/#\/graph$/)
  const kept = await page.evaluate<string[]>(READ_STORES)
  expect(kept.slice(0, 3)).toEqual(['', '{}', '{}'])
  expect(kept[3]).not.toContain(token)
  const cookies = await page.context().cookies()
  expect(cookies.map(({ httpOnly, sameSite }) => [httpOnly, sameSite])).toEqual([[true, 'Strict']])
  expect(cookies[0]!.value).not.toContain(token.split('.')[1])
})

test('a link that somebody else made asks nothing but what the page asks', async () => {
  const asked: string[] = []
  const note = (one: { url(): string }): unknown => asked.push(one.url())
  page.on('request', note)
  await show(`service?service=${encodeURIComponent('inventory/../../audit?x=')}&at=1e300`)
  await expect.poll(() => page.getByRole('heading', { level: 1 }).innerText()).toBe('Service')
  await show('constructor?__proto__=x')
  await expect.poll(() => page.getByRole('heading', { level: 1 }).innerText()).toBe('Graph')
  await show('graph?service=inmesh-demo')
  await expect.poll(() => page.url()).toMatch(/service=inmesh-demo$/)
  page.off('request', note)
  expect(asked.filter((url) => /audit|1e\+?300|\.\./.test(url))).toEqual([])
})

test('the browser refuses what a script could do if one got in', async () => {
  const { uiUrl, adminToken } = registry
  const victim = await openPage(browser, new URL(uiUrl).origin)
  await logIn(victim, uiUrl, adminToken!)
  const done = await victim.page.evaluate<Record<string, string>>(BREAK_IN)
  expect(done).toEqual({
    ...{ markup: 'refused', handler: 'refused', inline: 'refused', data: 'refused', blob: 'refused' },
    ...{ elsewhere: 'refused', picture: 'refused', frame: 'refused', base: 'refused', form: 'refused' },
    ...{ worker: 'refused', serviceWorker: 'refused', tokens: '404', opened: 'refused' },
  })
  await victim.page.context().close()
})

test('a page of another origin neither frames it nor reads what it asks', async () => {
  const { uiUrl } = registry
  const other = await openPage(browser, 'null')
  // The same machine on another port would be the same site.
  await other.page.setContent(`<iframe src="${uiUrl}"></iframe>`)
  const read = await other.page.evaluate(
    (url) =>
      fetch(`${url}session`, { credentials: 'include' }).then(
        (one) => one.text(),
        () => 'refused',
      ),
    uiUrl,
  )
  expect(read).toBe('refused')
  await expect.poll(() => other.faults.join('\n')).toMatch(/frame-ancestors 'none'|Refused to (?:frame|display)/)
  await other.page.context().close()
})

test('over TLS and in the dark it is the same page, with the strict cookie', async () => {
  const { url, adminToken } = registry
  await callSome()
  const dark = await openPage(browser, url, { colorScheme: 'dark', reducedMotion: 'reduce' })
  await logIn(dark, `${url}/ui/`, adminToken!)
  await expect.poll(() => dark.page.locator('tr[data-edge]').count(), WAIT).toBeGreaterThanOrEqual(4)
  const [cookie] = await dark.page.context().cookies()
  expect([cookie!.name, cookie!.secure, cookie!.path]).toEqual([`__Host-inmesh-${registry.port}`, true, '/'])
  expect(dark.faults).toEqual([])
  await dark.page.getByRole('button', { name: 'Log out' }).click()
  await expect.poll(() => dark.page.getByLabel("Operator's token").count()).toBe(1)
  expect(await dark.page.context().cookies()).toEqual([])
  await dark.page.context().close()
})

test('in all of this there was no error in the console, no dialog, and no request elsewhere', async () => {
  expect(watched.faults).toEqual([])
})
