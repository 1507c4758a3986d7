/** The page of routes: its documents are valid, and its output is what the command prints. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parsePolicyFile } from '../../src/cli/policy-file.ts'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { run } from '../cli/run-command.ts'
import { instance } from '../rigs/instance.ts'
import { TestSession } from '../rigs/registry-session.ts'

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const PAGE = read('docs/policies/routes.md')
const blocks = (text: string, language: string) =>
  [...text.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g'))].map(([, block]) => block!)
const DOCUMENTS = blocks(PAGE, 'yaml')

let registry: Registry
const sessions: TestSession[] = []
beforeAll(async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false })
  for (const [service, id, address, version, zone] of [
    ['inventory', 'inventory-4f1c', '10.0.1.7', 'v1', 'a'],
    ['inventory', 'inventory-9b2d', '10.0.2.7', 'v1', 'b'],
    ['inventory', 'inventory-c03a', '10.0.1.8', 'v2', 'a'],
    ['inventory-eu', 'inventory-eu-77e0', '10.1.0.4', 'v1', 'eu'],
  ] as const) {
    const session = await TestSession.open(registry, service)
    sessions.push(session)
    const metadata: Record<string, string> = version === 'v2' ? { track: 'next' } : {}
    const transports = ['http/1.1']
    const registered = instance(service, id, { address, port: 8080, version, zone, metadata, transports })
    expect(await session.ask({ type: 'register', instance: registered })).toMatchObject({ type: 'done' })
  }
})
afterAll(async () => {
  for (const session of sessions) session.close()
  await registry.close()
})

function command(args: readonly string[], stdin?: string) {
  const env = { INMESH_REGISTRY: registry.url, INMESH_ADMIN_TOKEN: registry.adminToken, HOME: '/nonexistent' }
  return run(args, { env, ...(stdin !== undefined && { stdin }) })
}

test.each([...DOCUMENTS, ...blocks(read('README.md'), 'yaml')])('the document %# is valid', (text) => {
  expect(() => parsePolicyFile(text, 'page.yaml')).not.toThrow()
})

test('the commands of a canary do what the page says', async () => {
  await command(['apply', '-f', '-'], DOCUMENTS[0]!)
  const [script] = blocks(PAGE, 'sh')
  for (const line of script!.trimEnd().split('\n')) {
    const [name, ...args] = line.replace(/ +#.*$/, '').split(' ')
    expect(name).toBe('inmesh')
    expect(await command(args)).toMatchObject({ code: 0, stderr: '' })
  }
  expect((await command(['history', 'inventory'])).stdout.trimEnd().split('\n')).toHaveLength(1 + 5)
})

test('the explanation is what the command prints', async () => {
  const allow = 'allow: [{ from: checkout, methods: [GET], paths: [/items/*] }]\n'
  await command(['apply', '-f', '-'], `service: inventory-eu\n`)
  expect((await command(['apply', '-f', '-'], `${DOCUMENTS[1]}${allow}`)).code).toBe(0)
  const [shown] = blocks(PAGE, 'console')
  const [first, ...output] = shown!.split('\n')
  const args = [...first!.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!)
  expect(args.slice(0, 2)).toEqual(['$', 'inmesh'])
  expect((await command(args.slice(2))).stdout).toBe(output.join('\n'))
})
