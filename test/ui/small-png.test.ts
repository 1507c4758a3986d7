/** Pictures that are made small show the same. */
import { readdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { titleWith } from '../rigs/installed.ts'
import { NO_BROWSER, openBrowser } from './browser.ts'
import { smallPng } from './small-png.ts'

const PICTURES = fileURLToPath(new URL('../../docs/pictures/', import.meta.url))
const MOST_BYTES = 600 * 1_024

it.skipIf(NO_BROWSER !== undefined)(
  titleWith(NO_BROWSER, 'a picture keeps its colors, with far fewer bytes'),
  async () => {
    const browser = await openBrowser()
    try {
      const page = await browser.newPage({ viewport: { width: 600, height: 300 } })
      const text = '<p style="font:16px sans-serif;color:#c02a2a;background:#f4f6f8">Circuit open</p>'
      await page.setContent(`<body style="margin:0;background:#16202b">${text.repeat(12)}`)
      const png = await page.screenshot()
      const small = smallPng(png)
      expect(small.length).toBeLessThan(png.length)
      await page.setContent('<body>')
      const differences = await page.evaluate<number>(`(async () => {
      const read = async (base64) => {
        const bitmap = await createImageBitmap(new Blob([Uint8Array.fromBase64?.(base64) ?? Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))]))
        const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d')
        canvas.drawImage(bitmap, 0, 0)
        return canvas.getImageData(0, 0, bitmap.width, bitmap.height).data
      }
      const [a, b] = [await read('${png.toString('base64')}'), await read('${small.toString('base64')}')]
      return a.length === b.length ? a.filter((one, i) => Math.abs(one - b[i]) > 24).length : -1
    })()`)
      expect(differences).toBe(0)
    } finally {
      await browser.close()
    }
  },
)

it('the pictures of the documentation are smaller than 600 KB together', () => {
  const sizes = readdirSync(PICTURES).map((name) => statSync(`${PICTURES}${name}`).size)
  expect(sizes.length).toBeGreaterThanOrEqual(6)
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(MOST_BYTES)
})
