/**
 * What `import 'inmesh'` costs an application before it joins: next to nothing, and nothing of the
 * application's changes.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const INDEX = new URL('../../src/index.ts', import.meta.url).href

/** Runs `program` in a fresh process; it prints one JSON line. */
function run(program: string): Record<string, unknown> {
  const child = spawnSync(process.execPath, ['--no-warnings', '--input-type=module', '--eval', program], {
    encoding: 'utf8',
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
  })
  if (child.status !== 0) throw new Error(child.stderr)
  return JSON.parse(child.stdout)
}

/** Every module that is resolved, ours, other packages' and Node's own. */
const WATCH = `
  import { registerHooks } from 'node:module'
  const resolved = new Set()
  registerHooks({ resolve(specifier, context, next) { const found = next(specifier, context); resolved.add(found.url); return found } })
`
const HEAVY = [
  ['undici', /node_modules\/undici\//],
  ['opossum', /node_modules\/opossum\//],
  ['p-retry', /node_modules\/p-retry\//],
  ['jose', /node_modules\/jose\//],
  ['@opentelemetry', /node_modules\/@opentelemetry\//],
  ['@grpc', /node_modules\/@grpc\//],
  ['yaml', /node_modules\/yaml\//],
  ['commander', /node_modules\/commander\//],
  ['pino', /node_modules\/pino\//],
  ['node:http2', /^node:http2$/],
  ['node:https', /^node:https$/],
  ['node:tls', /^node:tls$/],
  ['node:sqlite', /^node:sqlite$/],
] as const

test.each(HEAVY)("import 'inmesh' does not load %s", (_name, pattern) => {
  expect(loaded.filter((url) => pattern.test(url))).toEqual([])
})

const { loaded } = run(`${WATCH} await import('${INDEX}'); console.log(JSON.stringify({ loaded: [...resolved] }))`) as {
  loaded: string[]
}

test('the list of what was loaded is one, and joining does load the rest', () => {
  expect(loaded.filter((url) => url.endsWith('/src/index.ts'))).toHaveLength(1)
  const joined = run(`${WATCH}
    const { joinMesh } = await import('${INDEX}')
    await joinMesh({ service: 'a', registry: 'https://127.0.0.1:1', stateDir: 'memory', joinTimeout: 100 }).catch(() => {})
    console.log(JSON.stringify({ loaded: [...resolved] }))`) as { loaded: string[] }
  expect(joined.loaded.some((url) => /node_modules\/undici\//.test(url))).toBe(true)
})

test("the application's own fetch is the same before and after the import, and also after joining", () => {
  const told = run(`
    import { createServer } from 'node:http'
    const server = createServer((req, res) => res.end('plain ' + (req.headers['user-agent'] ?? ''))).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const url = 'http://127.0.0.1:' + server.address().port
    const before = { fetch, Response, Request, Headers, text: await (await fetch(url)).text() }
    const places = () => ['undici.globalDispatcher.1', 'undici.globalDispatcher.2'].map((name) => globalThis[Symbol.for(name)])
    const dispatchers = places()
    const { joinMesh } = await import('${INDEX}')
    const names = Object.getOwnPropertyNames(globalThis).length
    const joining = joinMesh({ service: 'a', registry: 'https://127.0.0.1:1', stateDir: 'memory', joinTimeout: 100 }).catch((error) => error.code)
    const code = await joining
    const text = await (await fetch(url)).text()
    console.log(JSON.stringify({
      code,
      same: fetch === before.fetch && Response === before.Response && Request === before.Request && Headers === before.Headers,
      text: text === before.text,
      plain: text.startsWith('plain '),
      names: Object.getOwnPropertyNames(globalThis).length - names,
      dispatcher: places()[0] === dispatchers[0],
    }))
    server.close()
    server.closeAllConnections()`)
  expect(told).toEqual({
    code: 'registry-unavailable',
    same: true,
    text: true,
    plain: true,
    names: 0,
    dispatcher: true,
  })
})

const BUILT = new URL('../../dist/index.js', import.meta.url)

test.runIf(existsSync(BUILT))('what the built package costs is told, not judged: machines differ', () => {
  const cost = run(`
    const rss = process.memoryUsage().rss
    const at = performance.now()
    await import('${BUILT.href}')
    console.log(JSON.stringify({ ms: performance.now() - at, mb: (process.memoryUsage().rss - rss) / 1048576 }))`)
  console.log(`import 'inmesh': ${Number(cost.ms).toFixed(0)} ms, ${Number(cost.mb).toFixed(1)} MB`)
  expect(cost).toEqual({ ms: expect.any(Number), mb: expect.any(Number) })
})
