/** The picture of a run: well-formed, readable, and with what the figures say. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { linearAxis, logarithmicAxis } from '../../src/simulator/axis.ts'
import { picture } from '../../src/simulator/picture.ts'
import type { Scenario } from '../../src/simulator/scenario.ts'
import { simulate } from '../../src/simulator/simulate.ts'
import { element } from '../../src/simulator/svg.ts'
import { scenarioOf } from './rig.ts'
import { elementsOf } from './xml.ts'

const SLOW = { name: 'slow=1', kind: { slow: 10 }, servers: [0], fromMs: 2_000, untilMs: 4_000 } as const
const ALL = Array.from({ length: 10 }, (_, i) => i)

function draw(changes: Partial<Scenario> = {}, about = 'about'): string {
  const scenario = scenarioOf({ retry: { attempts: 1 } }, changes)
  return picture(scenario, simulate(scenario), about)
}

function count(text: string, pattern: RegExp): number {
  return [...text.matchAll(pattern)].length
}

describe('a picture', () => {
  it('is well-formed, and loads nothing', () => {
    const drawn = draw({ faults: [SLOW] })
    expect(elementsOf(drawn)[0]).toBe('svg')
    expect(elementsOf(drawn)).toContain('title')
    expect(drawn.match(/https?:[^"]*/g)).toEqual(['http://www.w3.org/2000/svg'])
    expect(drawn).not.toMatch(/@import|@font-face|url\(|<script|<image|href/)
  })

  it('has axes, a legend, and a band for each fault in each panel', () => {
    const drawn = draw({ faults: [SLOW] })
    for (const word of ['p50', 'p99', 'failed', 'fair share', 'seconds']) expect(drawn).toContain(`>${word}</text>`)
    expect(count(drawn, /class="grid"/g)).toBeGreaterThan(8)
    expect(count(drawn, /class="fault"/g)).toBe(3)
    expect(count(drawn, /<path class="line p(?:50|99)"/g)).toBe(2)
    expect(drawn).toContain('prefers-color-scheme: dark')
  })

  it('has no panel of faulty servers if there are none, or no others', () => {
    const outage = { name: 'outage', kind: 'refuses', servers: ALL, fromMs: 2_000, untilMs: 4_000 } as const
    expect(draw()).not.toContain('fair share')
    expect(draw()).toContain('failed calls: none')
    expect(draw({ faults: [outage] })).not.toContain('fair share')
  })

  it('draws failed calls, and a gap in the lines where every call fails', () => {
    const outage = { name: 'outage', kind: 'refuses', servers: ALL, fromMs: 2_000, untilMs: 4_000 } as const
    const drawn = draw({ faults: [outage] })
    expect(count(drawn, /<rect class="failed"/g)).toBeGreaterThanOrEqual(2)
    const [, line] = /class="line p99" d="([^"]*)"/.exec(drawn)!
    expect(count(line!, /M/g)).toBe(2)
  })

  it('is drawn if no call succeeds, or there is one row only', () => {
    const outage = { name: 'outage', kind: 'refuses', servers: ALL, fromMs: 0, untilMs: 6_000 } as const
    for (const drawn of [draw({ faults: [outage] }), draw({ durationMs: 1_000 }), draw({ perSecond: 0.5 })]) {
      elementsOf(drawn)
      expect(drawn).not.toMatch(/NaN|Infinity|undefined|null/)
    }
  })

  it('escapes texts, and characters that no XML may have', () => {
    const drawn = draw({}, '</desc><script>alert("1 & 2")</script>\u0000\u001b[31m\ud800 \u{1f600}')
    elementsOf(drawn)
    expect(drawn).toContain('&lt;script&gt;alert(&quot;1 &amp; 2&quot;)&lt;/script&gt;??[31m\ufffd \u{1f600}')
    expect(element('a', { b: '"<&>' }).markup).toBe('<a b="&quot;&lt;&amp;&gt;"/>\n')
  })
})

it('the pictures of the pages are well-formed', () => {
  const folder = join(import.meta.dirname, '../../docs/policies/pictures')
  const names = readdirSync(folder)
  expect(names).toContain('least-load.svg')
  for (const name of names) expect(elementsOf(readFileSync(join(folder, name), 'utf8'))[0]).toBe('svg')
})

describe('axes', () => {
  it('have at most six round ticks, and room for the largest value', () => {
    for (const largest of [0.03, 0.5, 1, 7, 30, 99, 100, 101, 2_500, 123_456]) {
      const { ticks, place } = linearAxis(largest)
      expect(ticks.length).toBeLessThanOrEqual(6)
      expect(ticks.at(-1)).toBeGreaterThanOrEqual(largest * 0.999)
      expect([place(0), place(ticks.at(-1)!)]).toEqual([0, 1])
    }
    expect(linearAxis(30).ticks).toEqual([0, 10, 20, 30])
  })

  it('are logarithmic around the values', () => {
    const { ticks, place } = logarithmicAxis(30, 2_100)
    expect(ticks).toEqual([20, 50, 100, 200, 500, 1_000, 2_000, 5_000])
    expect(place(20)).toBe(0)
    expect(place(5_000)).toBe(1)
    expect(place(200) - place(100)).toBeCloseTo(place(2_000) - place(1_000))
  })
})
