/**
 * The page in a browser, on a mesh of five services under load: figures, faults and changes. With
 * `INMESH_PICTURES=docs/pictures` it keeps its pictures there.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { titleWith } from '../rigs/installed.ts'
import { request } from '../rigs/registry-session.ts'
import { logIn, NO_BROWSER, openBrowser, openPage, type WatchedPage } from './browser.ts'
import { Shop } from './shop.ts'
import { smallPng } from './small-png.ts'
import { Stalls, sightingOf } from './stalls.ts'

const WAIT = { timeout: 45_000, interval: 500 }

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
}, 180_000)

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

async function keepPicture(name: string): Promise<void> {
  const directory = process.env.INMESH_PICTURES
  if (directory === undefined) return
  // As high as its content: what is empty says nothing.
  const end = await page.evaluate<number>(
    'document.querySelector("main").lastElementChild.getBoundingClientRect().bottom',
  )
  const clip = { x: 0, y: 0, width: 1_280, height: Math.ceil(Math.min(end + 24, 1_250)) }
  const picture = await page.screenshot({ fullPage: true, clip, animations: 'disabled' })
  await writeFile(join(directory, `${name}.png`), smallPng(picture))
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

test('a service shows its instances, callers, routes and charts', async () => {
  await show('service?service=inventory')
  await expect.poll(() => page.locator('tr[data-instance]').count(), WAIT).toBe(2)
  // Each says what it served itself, and the shares are of one whole.
  const shares = page.locator('tr[data-instance] td:nth-of-type(5)')
  await expect
    .poll(async () => (await shares.allInnerTexts()).reduce((sum, text) => sum + Number.parseFloat(text), 0), WAIT)
    .toBeCloseTo(100, 0)
  await expect.poll(() => row('checkout inventory').count()).toBe(1)
  await expect.poll(() => row('web checkout').count()).toBe(0)
  await expect.poll(() => page.locator('.chart canvas').count()).toBe(3)
  await page.getByLabel('Caller').selectOption('checkout')
  await page.getByLabel('Path').fill('/items/7')
  await page.getByRole('button', { name: 'Explain' }).click()
  await expect.poll(() => page.locator('[aria-live]').innerText()).toMatch(/allowed by allow\[0\]/)
  // What was typed outlives the answer, and each update of the page.
  expect(await page.getByLabel('Path').inputValue()).toBe('/items/7')
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

test('the document of the mesh has its history, and goes back', async () => {
  const { registry } = shop
  const document = { service: 'mesh', timeout: '2s', allow: [{ from: '*' }] }
  const allow = [...document.allow, { from: 'auditor', methods: ['GET'], paths: ['/audit/*'] }]
  await show('events')
  await registry.applyPolicies([{ ...document, allow }])
  await show('service?service=prices')
  const rules = page.getByRole('table', { name: /^Who may call prices/ })
  await expect
    .poll(() => rules.getByRole('row').allInnerTexts(), WAIT)
    .toEqual([
      expect.stringContaining('Caller'),
      expect.stringMatching(/allow\[0\]\s+every service\s+all\s+all\s+all\s+no\s+✓ may call/),
      expect.stringMatching(/allow\[1\]\s+auditor\s+GET\s+\/audit\/\*\s+none\s+no\s+✓ may call/),
      expect.stringMatching(/default\s+everyone else\s+✖ denied/),
    ])
  await page.getByRole('link', { name: /document of the mesh, version/ }).click()
  expect(await page.locator('.changes').innerText()).toContain('auditor')
  const back = page.getByRole('button', { name: 'Roll back to 1' })
  await back.click()
  await expect.poll(() => page.getByRole('status').innerText()).toContain('like version 1')
  expect((await request(registry, 'GET', '/v1/policies/mesh', { admin: true })).json.document).toEqual(document)
})

test('the control plane shows registries and certificates', async () => {
  await show('mesh')
  await expect.poll(() => page.locator('tr[data-registry]').innerText()).toContain('ready')
  await expect.poll(() => page.getByRole('table', { name: 'Trusted authorities' }).count()).toBe(1)
  const certificates = page.getByRole('table', { name: /^Certificates of \d+ processes/ })
  await expect.poll(() => certificates.getByRole('row', { name: /within 24 h 6 / }).count(), WAIT).toBe(1)
  expect(await page.getByRole('list', { name: 'Stages of certificates' }).innerText()).toContain('steady')
  await keepPicture('ui-mesh')
})

test('the graph has every edge, with its rate within 5 % of the calls that were made', async () => {
  await show('graph?window=15')
  await page.locator('[data-window]').waitFor()
  await expect
    .poll(
      async () => {
        const { at, windowMs, rates } = await page.evaluate<ShownTable>(READ_TABLE)
        const off = rates.map(([edge, perSecond]) => {
          const made = shop.perSecond(edge, at - windowMs, at)
          return Math.abs(perSecond - made) / made
        })
        return windowMs >= 15_000 && rates.length === 5 && off.every((share) => share < 0.05)
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
  await page.emulateMedia({ colorScheme: 'dark' })
  await keepPicture('ui-dark')
  await page.emulateMedia({ colorScheme: null })
})

/** From what happened until the page shows it, without the time in which nothing could run. */
async function delayOf(happened: Promise<number>, selector: string, text: string): Promise<number> {
  using stalls = new Stalls()
  const [at, seen] = await Promise.all([happened, sightingOf(page, selector, text)])
  return seen.at - at - stalls.ms - seen.stalledMs
}

test('an opened breaker is seen in the picture within 10 s, and in the table and the events', async () => {
  await show('graph')
  const edge = page.locator('.picture [data-edge="checkout prices"]')
  await edge.waitFor()
  shop.areFailing = true
  const opened = expect
    .poll(() => shop.firstFailures.get('checkout prices circuit-open'), { ...WAIT, interval: 20 })
    .toBeDefined()
    .then(() => shop.firstFailures.get('checkout prices circuit-open')!)
  expect(await delayOf(opened, '.picture [data-edge="checkout prices"]', 'circuit open')).toBeLessThan(10_000)
  expect(await edge.getAttribute('class')).toContain('bad')
  expect(await page.getByRole('list', { name: 'What needs attention' }).innerText()).toContain('prices: circuit open')
  await expect.poll(() => row('checkout prices').innerText(), WAIT).toContain('circuit-open')
  await keepPicture('ui-breaker')
  await show('events')
  await expect.poll(() => page.locator('tr[data-event="circuit open"]').count(), WAIT).toBeGreaterThan(0)
  await page.locator('tr[data-event="circuit open"] a').first().click()
  await expect.poll(() => page.url()).toMatch(/#\/graph\?.*at=\d+/)
})

test('a killed instance is gone from the picture within 10 s, and in the events', async () => {
  await show('service?service=inventory')
  await expect.poll(() => page.locator('.chart canvas').count()).toBe(3)
  await expect
    .poll(() => page.getByRole('row', { name: /item-pages/ }).innerText(), WAIT)
    .toMatch(/wanted\s+v1 70 %, v2 30 %\s+as served\s+v1 (?:6|7)\d(?:\.\d)? %, v2 (?:2|3)\d(?:\.\d)? %/)
  await keepPicture('ui-service')
  await show('graph')
  const node = page.locator('.picture a[data-service="inventory"]')
  await expect.poll(() => node.textContent(), WAIT).toContain('2/2 ready')
  const delay = await delayOf(shop.kill(), '.picture a[data-service="inventory"]', '!2/2 ready')
  expect(delay).toBeLessThan(10_000)
  await show('events?service=inventory')
  await expect.poll(() => page.locator('tr[data-event="instance lost"]').count(), WAIT).toBe(1)
  await expect.poll(() => page.locator('tr[data-event="ejection ejected"]').count(), WAIT).toBeGreaterThan(0)
  await keepPicture('ui-events')
})

test('in all of this there was no error in the console, no dialog, and no request elsewhere', async () => {
  expect(watched.faults).toEqual([])
})
