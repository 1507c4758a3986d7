/**
 * The page in a browser, on a mesh of five services under load: figures, faults, changes, and texts
 * that try to be markup. With `INMESH_PICTURES=docs/pictures` it keeps its pictures there.
 */
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { TrafficSeries } from '../../src/telemetry/traffic/traffic-message.ts'
import { titleWith } from '../rigs/installed.ts'
import { request, TestSession } from '../rigs/registry-session.ts'
import { logIn, NO_BROWSER, openBrowser, openPage, type WatchedPage } from './browser.ts'
import { Shop } from './shop.ts'

const WAIT = { timeout: 45_000, interval: 500 }
const MARKUP = '<img src=x onerror=alert(1)>'

let shop: Shop
let browser: Browser
let watched: WatchedPage
let page: Page

beforeAll(async () => {
  if (NO_BROWSER !== undefined) return
  shop = await Shop.open()
  browser = await openBrowser()
  const { uiUrl, adminToken } = shop.registry
  watched = await openPage(browser, new URL(uiUrl).origin)
  page = watched.page
  await logIn(watched, uiUrl, adminToken!)
})

afterAll(async () => {
  await browser?.close()
  await shop?.[Symbol.asyncDispose]()
})

function test(title: string, body: () => Promise<void>): void {
  it.skipIf(NO_BROWSER !== undefined)(titleWith(NO_BROWSER, title), { timeout: 150_000 }, body)
}

async function show(place: string): Promise<void> {
  await page.goto(`${shop.registry.uiUrl}#/${place}`)
}

async function keepPicture(name: string, of: Page = page): Promise<void> {
  const directory = process.env.INMESH_PICTURES
  if (directory !== undefined) await of.screenshot({ path: join(directory, `${name}.png`) })
}

function row(edge: string): ReturnType<Page['locator']> {
  return page.locator(`tr[data-edge="${edge}"]`)
}

/** As text, which runs in the page: these tests have no types of a browser's. */
const READ_TABLE = `(() => {
  const { at, window } = document.querySelector('[data-window]').dataset
  const rows = [...document.querySelectorAll('tr[data-edge]')]
  const rates = rows.map((one) => [one.dataset.edge, Number(one.querySelector('[data-figure]').dataset.value)])
  return { at: Number(at), windowMs: Number(window), rates }
})()`

interface ShownTable {
  readonly at: number
  readonly windowMs: number
  readonly rates: readonly (readonly [edge: string, perSecond: number])[]
}

const READ_STORES = `[
  document.cookie,
  JSON.stringify({ ...localStorage }),
  JSON.stringify({ ...sessionStorage }),
  document.documentElement.outerHTML,
]`

test('the graph has every edge, with its rate within 5 % of the calls that were made', async () => {
  await show('graph')
  await page.locator('[data-window]').waitFor()
  await expect
    .poll(
      async () => {
        const { at, windowMs, rates } = await page.evaluate<ShownTable>(READ_TABLE)
        const off = rates.map(([edge, perSecond]) => {
          const made = shop.perSecond(edge, at - windowMs, at)
          return Math.abs(perSecond - made) / made
        })
        return windowMs >= 30_000 && rates.length === 5 && off.every((share) => share < 0.05)
      },
      { ...WAIT, timeout: 120_000 },
    )
    .toBe(true)
  for (const edge of shop.ledger.keys()) {
    await expect.poll(() => row(edge).innerText()).toMatch(/yes/)
    expect(await page.locator(`.picture [data-edge="${edge}"] .lock`).count()).toBe(1)
  }
  expect(await page.locator('.picture a[data-service]').count()).toBe(5)
  await expect.poll(() => row('checkout inventory').innerText()).toMatch(/v1 [\d.]+ %, v2 [\d.]+ %/)
  await keepPicture('ui-graph')
})

test('a service shows its instances, callers, routes and charts', async () => {
  await show('service?service=inventory')
  await expect.poll(() => page.locator('tr[data-instance]').count(), WAIT).toBe(2)
  await expect.poll(() => row('checkout inventory').count()).toBe(1)
  await expect.poll(() => row('web checkout').count()).toBe(0)
  await expect.poll(() => page.locator('.chart canvas').count()).toBe(3)
  await page.getByLabel('Caller').selectOption('checkout')
  await page.getByRole('button', { name: 'Explain' }).click()
  await expect.poll(() => page.locator('[aria-live]').innerText()).toMatch(/allowed by allow\[0\]/)
  await keepPicture('ui-service')
})

test('a rollback from the page takes effect', async () => {
  const { registry } = shop
  const version = async (): Promise<number> =>
    (await request(registry, 'GET', '/v1/policies/prices', { admin: true })).json.version
  const first = await version()
  await registry.applyPolicies([
    {
      ...{ service: 'prices', circuitBreaker: { minimumCalls: 10, resetAfter: '60s' } },
      ...{ retry: { attempts: 1 }, timeout: '1s' },
    },
  ])
  await show('service?service=prices')
  const back = page.getByRole('button', { name: `Roll back to ${first}` })
  await back.waitFor()
  expect(await page.locator('.changes').innerText()).toContain('timeout')
  await back.click()
  await expect.poll(() => page.getByRole('status').innerText()).toContain(`like version ${first}`)
  expect(await version()).toBe(first + 2)
})

test('an opened breaker is seen in the picture, the table and the events', async () => {
  await show('graph')
  shop.areFailing = true
  const edge = page.locator('.picture [data-edge="checkout prices"]')
  await expect.poll(() => edge.getAttribute('class'), WAIT).toContain('bad')
  await expect.poll(() => edge.textContent(), WAIT).toContain('circuit open')
  await expect.poll(() => row('checkout prices').innerText(), WAIT).toContain('circuit-open')
  await keepPicture('ui-breaker')
  await show('events')
  await expect.poll(() => page.locator('tr[data-event="circuit open"]').count(), WAIT).toBeGreaterThan(0)
  await page.locator('tr[data-event="circuit open"] a').first().click()
  await expect.poll(() => page.url()).toMatch(/#\/graph\?.*at=\d+/)
})

test('a killed instance is gone from the picture, and in the events', async () => {
  await show('graph')
  const node = page.locator('.picture a[data-service="inventory"]')
  await expect.poll(() => node.textContent(), WAIT).toContain('2/2 ready')
  await shop.kill()
  await expect.poll(() => node.textContent(), WAIT).not.toContain('2/2 ready')
  await show('events?service=inventory')
  await expect.poll(() => page.locator('tr[data-event="instance lost"]').count(), WAIT).toBe(1)
  await keepPicture('ui-events')
})

test('the control plane shows registries and certificates', async () => {
  await show('mesh')
  await expect.poll(() => page.locator('tr[data-registry]').innerText()).toContain('ready')
  await expect.poll(() => page.getByRole('table', { name: 'Trusted authorities' }).count()).toBe(1)
  await keepPicture('ui-mesh')
})

test('the keyboard alone leads from the graph to a service', async () => {
  await show('graph')
  await page.locator('.picture a[data-service="prices"]').focus()
  await page.keyboard.press('Enter')
  await expect.poll(() => page.getByRole('heading', { level: 2, name: 'prices' }).count()).toBe(1)
})

test('names, versions and texts of members that are markup are shown as they are', async () => {
  const { registry } = shop
  const session = await TestSession.open(registry, 'intruder', undefined, { process: MARKUP, traffic: true })
  const series: TrafficSeries = {
    ...{ to: 'inventory', protocol: 'http', method: 'GET', route: MARKUP, version: MARKUP },
    ...{ calls: 100, codes: { timeout: 50 } },
  }
  session.send({ type: 'traffic', sequence: 1, forMs: 5_000, series: [series] })
  await request(registry, 'POST', '/v1/join', { body: { service: MARKUP, csr: MARKUP, token: MARKUP } })
  await show('graph')
  await expect.poll(() => row('intruder inventory').allInnerTexts(), WAIT).toEqual([expect.stringContaining(MARKUP)])
  await show('service?service=inventory')
  await expect.poll(() => page.getByRole('rowheader', { name: MARKUP }).count(), WAIT).toBe(1)
  await show('events')
  await expect.poll(() => page.locator('tr[data-event="refused join"]').count(), WAIT).toBeGreaterThan(0)
  await show(`graph?filter=${encodeURIComponent(MARKUP)}&service=${encodeURIComponent(MARKUP)}`)
  await expect.poll(() => page.getByLabel('Filter').inputValue()).toBe(MARKUP)
  await expect.poll(() => page.getByText('No service matches.').count()).toBe(1)
  expect(await page.locator('img, iframe, script:not([src])').count()).toBe(0)
  session.close()
})

test('no script reads the session, and neither a store nor an address keeps the token', async () => {
  const token = shop.registry.adminToken!
  await show(`graph?token=${token}`)
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

test('a page of another origin neither frames it nor reads what it asks', async () => {
  const { uiUrl } = shop.registry
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
  const { url, adminToken } = shop.registry
  const dark = await openPage(browser, url, { colorScheme: 'dark', reducedMotion: 'reduce' })
  await logIn(dark, `${url}/ui/`, adminToken!)
  await expect.poll(() => dark.page.locator('tr[data-edge]').count(), WAIT).toBeGreaterThanOrEqual(5)
  const [cookie] = await dark.page.context().cookies()
  expect([cookie!.name, cookie!.secure, cookie!.path]).toEqual([`__Host-inmesh-${shop.registry.port}`, true, '/'])
  await keepPicture('ui-dark', dark.page)
  expect(dark.faults).toEqual([])
  await dark.page.getByRole('button', { name: 'Log out' }).click()
  await expect.poll(() => dark.page.getByLabel("Operator's token").count()).toBe(1)
  expect(await dark.page.context().cookies()).toEqual([])
  await dark.page.context().close()
})

test('in all of this there was no error in the console, no dialog, and no request elsewhere', async () => {
  expect(watched.faults).toEqual([])
})
