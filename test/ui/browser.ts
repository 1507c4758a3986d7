/** Chromium, and a page in it that notes what must not happen. */
import { existsSync } from 'node:fs'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const EXECUTABLE = PLACES.find((place) => existsSync(place))

/** Only a machine with other work to do takes more than a few seconds. */
const STARTS_WITHIN_MS = 120_000

/** Why tests that need a browser cannot run here. */
export const NO_BROWSER = EXECUTABLE === undefined ? 'chromium is not installed' : undefined

export async function openBrowser(): Promise<Browser> {
  // As root, in containers, its sandbox does not start.
  const args = ['--no-sandbox', '--disable-dev-shm-usage']
  return await chromium.launch({ executablePath: EXECUTABLE!, args, timeout: STARTS_WITHIN_MS })
}

export interface WatchedPage {
  readonly page: Page
  /** Errors of the console and of scripts, dialogs, and requests to other hosts. */
  readonly faults: string[]
}

export async function openPage(
  browser: Browser,
  origin: string,
  options: BrowserContextOptions = {},
): Promise<WatchedPage> {
  const context = await browser.newContext({
    ...{ viewport: { width: 1_280, height: 860 }, locale: 'en-GB', ignoreHTTPSErrors: true },
    ...options,
  })
  const page = await context.newPage()
  const faults: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') faults.push(message.text())
  })
  page.on('pageerror', (error) => faults.push(error.message))
  page.on('dialog', (dialog) => {
    faults.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== origin) faults.push(`request to ${request.url()}`)
  })
  return { page, faults }
}

export async function logIn({ page }: WatchedPage, url: string, token: string): Promise<void> {
  await page.goto(url)
  await page.getByLabel("Operator's token").fill(token)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('navigation', { name: 'Views' }).waitFor()
}
