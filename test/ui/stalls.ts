/** Time in which neither this process nor a page could run: no bound counts it. */
import type { Page } from 'playwright-core'

const EVERY_MS = 50

export class Stalls implements Disposable {
  /** So far, in ms. */
  ms = 0
  #last = performance.now()
  readonly #timer = setInterval(() => {
    const now = performance.now()
    this.ms += Math.max(0, now - this.#last - EVERY_MS)
    this.#last = now
  }, EVERY_MS);

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}

export interface Sighting {
  /** Wall clock, ms. */
  readonly at: number
  /** Since it was asked for, in the page. */
  readonly stalledMs: number
}

/**
 * When the page first shows `text` in what `selector` finds, or, with a `!` before it, no longer
 * does. The page itself watches.
 */
export async function sightingOf(page: Page, selector: string, text: string): Promise<Sighting> {
  return await page.evaluate<Sighting>(`new Promise((resolve) => {
    const [selector, text] = ${JSON.stringify([selector, text])}
    let last = performance.now()
    let stalledMs = 0
    const look = () => {
      const content = document.querySelector(selector)?.textContent
      if (content === undefined) return
      const isShown = text.startsWith('!') ? !content.includes(text.slice(1)) : content.includes(text)
      if (!isShown) return
      clearInterval(timer)
      observer.disconnect()
      resolve({ at: Date.now(), stalledMs })
    }
    const timer = setInterval(() => {
      const now = performance.now()
      stalledMs += Math.max(0, now - last - ${EVERY_MS})
      last = now
    }, ${EVERY_MS})
    const observer = new MutationObserver(look)
    observer.observe(document.body, { subtree: true, childList: true, characterData: true })
    look()
  })`)
}
