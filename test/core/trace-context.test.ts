import { describe, expect, it } from 'vitest'
import { formatTraceparent, parseTraceparent } from '../../src/core/trace-context.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'

describe('a traceparent', () => {
  it('is read, with its state, and written as it came', () => {
    const trace = parseTraceparent(`00-${TRACE}-${SPAN}-01`, 'a=b')
    expect(trace).toMatchObject({ traceId: TRACE, spanId: SPAN, sampled: true, state: 'a=b' })
    expect(formatTraceparent(trace!)).toBe(`00-${TRACE}-${SPAN}-01`)
  })

  it('of another version, or with flags that we do not know, is written as one of ours', () => {
    for (const [version, flags, ours] of [
      ['00', '00', '00'],
      ['00', '03', '01'],
      ['00', '11', '01'],
      ['00', 'fe', '00'],
      ['01', '01', '01'],
      ['10', '01', '01'],
    ]) {
      const trace = parseTraceparent(`${version}-${TRACE}-${SPAN}-${flags}`)!
      expect(formatTraceparent(trace), `${version}, ${flags}`).toBe(`00-${TRACE}-${SPAN}-${ours}`)
    }
    expect(formatTraceparent(parseTraceparent(`01-${TRACE}-${SPAN}-01-more`)!)).toBe(`00-${TRACE}-${SPAN}-01`)
  })

  it('is sampled if the last bit of its flags says so, whatever the other bits say', () => {
    for (const [flags, sampled] of [
      ['00', false],
      ['01', true],
      ['02', false],
      ['0a', false],
      ['0b', true],
      ['fe', false],
      ['ff', true],
    ] as const) {
      expect(parseTraceparent(`00-${TRACE}-${SPAN}-${flags}`)?.sampled, flags).toBe(sampled)
    }
  })

  it('of a later version may have more behind it, after a dash', () => {
    expect(parseTraceparent(`01-${TRACE}-${SPAN}-01-more`)).toBeDefined()
    expect(parseTraceparent(`01-${TRACE}-${SPAN}-01`)).toBeDefined()
    expect(parseTraceparent(`01-${TRACE}-${SPAN}-01more`)).toBeUndefined()
    expect(parseTraceparent(`01-${TRACE}-${SPAN}-01-more\n`)).toBeUndefined()
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-01-more`)).toBeUndefined()
  })

  it('that is malformed is none', () => {
    for (const header of [
      undefined,
      '',
      `ff-${TRACE}-${SPAN}-01`,
      `0g-${TRACE}-${SPAN}-01`,
      `00-${TRACE.toUpperCase()}-${SPAN}-01`,
      `00-${TRACE.slice(1)}-${SPAN}-01`,
      `00-${TRACE.slice(1)}\u0130-${SPAN}-01`,
      `00_${TRACE}-${SPAN}-01`,
      `00-${TRACE}_${SPAN}-01`,
      `00-${TRACE}-${SPAN}_01`,
      `00-${'0'.repeat(32)}-${SPAN}-01`,
      `00-${TRACE}-${'0'.repeat(16)}-01`,
      `00-${TRACE}-${SPAN}-0`,
    ]) {
      expect(parseTraceparent(header), String(header)).toBeUndefined()
    }
  })
})
