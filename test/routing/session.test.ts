import { describe, expect, it } from 'vitest'
import type { Issue } from '../../src/options/fields.ts'
import { readSession, SESSION, sessionHeader, sessionToken } from '../../src/routing/session.ts'

function resolve(given: unknown): [ReturnType<typeof SESSION.parse>, string[]] {
  const issues: Issue[] = []
  const settings = SESSION.parse(given, [], issues)
  return [settings, issues.map(({ path, message }) => `${path.join('.')}: ${message}`)]
}

describe('a session', () => {
  it('is read from the header or the cookie that carries it', () => {
    const session = { target: 'service:a/b', endpoint: 'i-1', since: 1_000 }
    const token = sessionToken(session)
    const [byHeader] = resolve({ header: 'X-Session' })
    expect(readSession(byHeader, (name) => (name === 'x-session' ? token : undefined), 2_000_000)).toEqual(session)
    const [byCookie] = resolve({ cookie: 'stay' })
    expect(readSession(byCookie, () => `a=1; stay=${token}; b=2`, 2_000_000)).toEqual(session)
    expect(readSession(byCookie, () => undefined, 0)).toBeUndefined()
  })

  it('is over after its lifetime', () => {
    const [settings] = resolve({ header: 'x-session', lifetime: '10s' })
    const token = sessionToken({ target: '', endpoint: 'i-1', since: 100 })
    expect(readSession(settings, () => token, 109_999)).toMatchObject({ endpoint: 'i-1' })
    expect(readSession(settings, () => token, 110_000)).toBeUndefined()
  })

  it('is told as a header or as a cookie', () => {
    const session = { target: 'green', endpoint: 'i-1', since: 1 }
    expect(sessionHeader(resolve({ header: 'x-session' })[0], session)).toEqual(['x-session', sessionToken(session)])
    const [name, value] = sessionHeader(resolve({ cookie: 'stay' })[0], session)
    expect([name, value]).toEqual(['set-cookie', `stay=${sessionToken(session)}; Path=/; HttpOnly; SameSite=Strict`])
  })

  it.each([
    [{}, ': expected exactly one of cookie, header'],
    [{ cookie: 'a', header: 'b' }, ': expected exactly one of cookie, header'],
    [{ cookie: 'a', permanent: true }, "permanent: needs 'cookie' and 'lifetime'"],
    [{ cookie: 'a', path: '/a; Domain=b' }, 'path: expected a path'],
    [{ cookie: 'a b' }, 'cookie: expected the name of a cookie'],
    [{ header: 'host' }, 'header: cannot be changed as a header'],
  ])('%j is refused', (given, message) => {
    const [, issues] = resolve(given)
    expect(issues).toHaveLength(1)
    expect(issues[0]).toContain(message)
  })
})
