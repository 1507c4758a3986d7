/**
 * What a page owes to readers by keyboard and by ear, as scripts that run in it: names of controls,
 * contrast, and a focus that is seen. As texts, because these tests have no types of a browser's.
 */
import type { Page } from 'playwright-core'

/** Of WCAG 2.2 AA: texts, and large texts. */
const LEAST_CONTRAST = { text: 4.5, large: 3 } as const

const FOCUSABLE = 'a[href], button, input, select, summary, [tabindex="0"]'

const READ_NAMES = `[...document.querySelectorAll('${FOCUSABLE}')].filter((one) => {
  const labels = [...(one.labels ?? [])].map((label) => label.textContent).join('')
  const name = one.getAttribute('aria-label') ?? (labels || one.textContent || one.title)
  return name.trim() === ''
}).map((one) => one.outerHTML.slice(0, 200))`

const READ_TABLES = `[...document.querySelectorAll('table')].filter((table) =>
  !table.caption?.textContent.trim() ||
  [...table.querySelectorAll('th')].some((th) => !th.scope || !th.textContent.trim())
).map((table) => table.outerHTML.slice(0, 200))`

const READ_CONTRASTS = `(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true })
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1)
    canvas.fillStyle = color
    canvas.fillRect(0, 0, 1, 1)
    return [...canvas.getImageData(0, 0, 1, 1).data]
  }
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((one) => (one / 255 <= 0.04045 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4))
    return 0.2126 * x + 0.7152 * y + 0.0722 * z
  }
  const background = (element) => {
    const card = element.closest('.node')?.querySelector('.card')
    if (card) return rgba(getComputedStyle(card).fill)
    for (let one = element; one; one = one.parentElement) {
      const color = rgba(getComputedStyle(one).backgroundColor)
      if (color[3] === 255) return color
    }
    return [255, 255, 255, 255]
  }
  const found = []
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement
    const text = texts.currentNode.textContent.trim()
    if (text === '' || !element.checkVisibility() || element.closest('script, style, title, option, :disabled, .unseen')) continue
    const style = getComputedStyle(element)
    const color = rgba(element.closest('svg') ? style.fill : style.color)
    const [a, b] = [luminance(color), luminance(background(element))].sort((x, y) => y - x)
    const size = parseFloat(style.fontSize)
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700)
    const ratio = (a + 0.05) / (b + 0.05)
    if (ratio < (isLarge ? ${LEAST_CONTRAST.large} : ${LEAST_CONTRAST.text})) found.push(ratio.toFixed(2) + ' ' + element.className + ' ' + text.slice(0, 40))
  }
  return [...new Set(found)]
})()`

/** What is focused: its name, and whether that is seen; `null`: nothing of the page. */
const READ_FOCUS = `(() => {
  const one = document.activeElement
  if (one === null || one === document.body) return null
  const card = one.matches('.node') ? one.querySelector('.card') : null
  const isSeen = card ? getComputedStyle(card).strokeWidth === '3px' : getComputedStyle(one).outlineStyle !== 'none'
  const all = [...document.querySelectorAll('${FOCUSABLE}')]
  return { index: all.indexOf(one), isSeen, html: one.outerHTML.slice(0, 120) }
})()`

const COUNT_STOPS = `[...document.querySelectorAll('${FOCUSABLE}')].filter((one) => !one.disabled && one.checkVisibility()).length`

/** What is wrong with the page as it is shown now. */
export async function faultsOf(page: Page): Promise<Record<'names' | 'tables' | 'contrasts', string[]>> {
  return {
    names: await page.evaluate<string[]>(READ_NAMES),
    tables: await page.evaluate<string[]>(READ_TABLES),
    contrasts: await page.evaluate<string[]>(READ_CONTRASTS),
  }
}

/** Goes through the page with the tab key, and tells what is not reached, or not seen to be. */
export async function walk(page: Page): Promise<{ isWhole: boolean; unseen: string[] }> {
  const stops = await page.evaluate<number>(COUNT_STOPS)
  const reached = new Set<number>()
  const unseen: string[] = []
  await page.evaluate('document.activeElement.blur()')
  for (let i = 0; i < stops + 3; i++) {
    await page.keyboard.press('Tab')
    const focus = await page.evaluate<{ index: number; isSeen: boolean; html: string } | null>(READ_FOCUS)
    if (focus === null) continue
    reached.add(focus.index)
    if (!focus.isSeen) unseen.push(focus.html)
  }
  return { isWhole: reached.size === stops, unseen }
}
