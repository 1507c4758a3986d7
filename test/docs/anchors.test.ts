/** Codes, events and messages lead to the pages that explain them. */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type ErrorCode, MeshError } from '../../src/core/errors.ts'
import { REASON_FLAGS } from '../../src/telemetry/access-log/reason-flags.ts'
import { EVENT_NAMES } from '../../src/telemetry/events.ts'
import { Page } from './page.ts'
import { ROOT } from './pages.ts'

function anchorsOf(page: string): readonly string[] {
  return [...new Page(page).text.matchAll(/<a id="([a-z-]+)"><\/a>/g)].map(([, id]) => id!)
}

describe('every', () => {
  it('error code has an anchor, which the error names', () => {
    const codes = Object.keys(REASON_FLAGS) as ErrorCode[]
    expect(anchorsOf('errors.md').toSorted()).toEqual(codes.toSorted())
    for (const code of codes) {
      expect(new MeshError('it failed', { code }).help).toBe(`inmesh/docs/errors.md#${code}`)
    }
  })

  it('event has an anchor', () => {
    expect(anchorsOf('events.md')).toEqual(EVENT_NAMES.map((name) => name.replaceAll(':', '-')))
  })

  it('message of the page about troubleshooting is one that the library has', () => {
    const sources = globSync('src/**/*.ts', { cwd: ROOT, exclude: (name) => name === 'ui' })
      .map((file) => readFileSync(join(ROOT, file), 'utf8'))
      .join('\n')
      .replaceAll("\\'", "'")
    const messages = [...new Page('troubleshooting.md').text.matchAll(/^### (.+)$/gm)].map(([, message]) => message!)
    expect(messages.length).toBeGreaterThan(30)
    const unknown = messages.flatMap((message) =>
      message
        .split('…')
        // What is left of a value is no message: a colon, a full stop, a quotation mark.
        .filter((part) => part.replace(/[^a-z]/gi, '').length > 3)
        .filter((part) => !sources.includes(part.trim()))
        .map((part) => `${message}: nothing says '${part.trim()}'`),
    )
    expect(unknown).toEqual([])
  })
})
