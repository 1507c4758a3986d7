import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { compileRegex, LONGEST_MATCHED, regexMistake } from '../../src/routing/linear-regex.ts'

/** What a new process prints that runs `program` with the source at hand. */
function run(program: string): unknown {
  const source = new URL('../../src/', import.meta.url).href
  const text = `
    import Module, { createRequire } from 'node:module'
    const load = (file) => import(${JSON.stringify(source)} + file)
    const loaded = () => Object.keys(createRequire(import.meta.url).cache).some((file) => file.includes('re2js'))
    const { checkPolicyDocument, checkReceivedDocument } = await load('discovery/check-document.ts')
    const { readPolicyDocument } = await load('discovery/policy-reader.ts')
    const routes = [
      { name: 'plain', match: [{ path: '/a' }] },
      { name: 'pages', match: [{ path: { regex: '/i/[0-9]+' } }], to: { service: 'eu' } },
    ]
    ${program}`
  const args = ['--no-warnings', '--input-type=module', '--eval', text]
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as unknown
}

describe('a regular expression', () => {
  it('matches the whole text', () => {
    const test = compileRegex('a|ab')
    expect(['a', 'ab', 'abc', 'b', ''].map(test)).toEqual([true, true, false, false, false])
    expect(['', 'xy', 'x'].map(compileRegex('^(xy)?$'))).toEqual([true, true, false])
  })

  it('matches no text beyond the bound', () => {
    const test = compileRegex('a*')
    expect([test('a'.repeat(LONGEST_MATCHED)), test('a'.repeat(LONGEST_MATCHED + 1))]).toEqual([true, false])
  })

  it.each([
    ['a look-ahead', '(?=a)', 'invalid or unsupported Perl syntax: `(?=`'],
    ['a back-reference', '(a)\\1', 'invalid escape sequence: `\\1`'],
    ['an open group', '(a', 'missing closing ): `(a`'],
    ['too many instructions', '(?:[a-z]{40}){24}[a-z]{60}', 'is of 1022 instructions; at most 1000 are allowed'],
  ])('with %s is a mistake', (_, source, expected) => {
    expect(regexMistake(source)).toBe(expected)
  })

  it('takes time in proportion to the text, whatever the pattern', () => {
    const text = 'a'.repeat(LONGEST_MATCHED)
    const used = process.cpuUsage()
    for (const source of ['(a+)+b', '(a|aa)*b', '(a*)*(a*)*b', '(.*)(.*)(.*)(.*)b']) {
      expect(compileRegex(source)(text)).toBe(false)
    }
    // Backtracking would not end within the age of the universe.
    expect(process.cpuUsage(used).user).toBeLessThan(10_000_000)
  })
})

describe('the engine', () => {
  it('is loaded by the first document with a regular expression', () => {
    const found = run(`
      const before = [loaded(), checkPolicyDocument({ service: 'a', routes: routes.slice(0, 1) }), loaded()]
      console.log(JSON.stringify([before, checkPolicyDocument({ service: 'a', routes }), loaded()]))`)
    expect(found).toEqual([[false, [], false], [], true])
  })

  it('that is missing is a mistake of the document, and the route is named', () => {
    const found = run(`
      const resolve = Module._resolveFilename
      Module._resolveFilename = function (name, ...rest) {
        if (name === 're2js') throw Object.assign(new Error('not here'), { code: 'MODULE_NOT_FOUND' })
        return resolve.call(this, name, ...rest)
      }
      const document = { service: 'a', routes }
      console.log(JSON.stringify([checkReceivedDocument(document), readPolicyDocument(document)]))`)
    const message = "expected a regular expression in RE2's syntax: needs the package re2js: npm install re2js"
    expect(found).toEqual([
      [{ path: ['routes', 1, 'match', 0, 'path', 'regex'], message }],
      {
        policy: { service: 'a', routes: [{ name: 'plain', match: [{ path: '/a' }] }] },
        issue: `routes[1].match[0].path.regex: ${message}; without the route "pages", its requests go on to the next that matches`,
      },
    ])
  })
})
