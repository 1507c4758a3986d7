import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { buildProgram } from '../../src/cli/program.ts'
import { policyJsonSchema } from '../../src/discovery/policy-document.ts'
import { run } from './run-command.ts'

const NOWHERE = 'https://127.0.0.1:1'

function allCommands(): string[][] {
  const found: string[][] = []
  const walk = (command: Command, path: string[]) => {
    found.push(path)
    for (const inner of command.commands) walk(inner, [...path, inner.name()])
  }
  const silent = { write: () => true }
  walk(buildProgram({ stdout: silent, stderr: silent, stdin: (async function* () {})(), env: {} }), [])
  return found
}

describe('help', () => {
  it.each(allCommands().map((path) => [path]))('has an example: %j', async (path) => {
    const { code, stdout } = await run([...path, '--help'])
    expect(code).toBe(0)
    expect(stdout).toContain('Example:\n  $ inmesh')
  })

  it('offers --json with every command that does something', async () => {
    // The output of `run` is that of its program.
    const others = ['token', 'token operator', 'ca', 'run']
    for (const path of allCommands().filter((one) => one.length > 0 && !others.includes(one.join(' ')))) {
      expect((await run([...path, '--help'])).stdout, path.join(' ')).toContain('--json')
    }
  })

  it('tells the exit codes', async () => {
    expect((await run(['--help'])).stdout).toContain('Exit codes: 0 done')
  })

  it('prints the version of the package', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
    expect(await run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })
})

describe('wrong usage', () => {
  it.each([
    [[], '--service is missing; or set INMESH_SERVICE'],
    [['--service', 'A_B'], '--service: expected a service name'],
    [['--service', 'a', '--mode', 'foo'], "--mode: expected one of 'permissive', 'strict'"],
    [['--service', 'a', '--ports', '80,abc'], '--ports[1]: expected a whole number'],
    [['--service', 'a', '--registry', 'http://x'], '--registry: '],
  ])('starts no program: inmesh run %j', async (flags, message) => {
    const { code, stderr } = await run(['run', ...flags, '--', 'no-such-program'], { env: {} })
    expect({ code, said: stderr.split('\n')[0] }).toEqual({
      code: 2,
      said: expect.stringContaining(`error: ${message}`),
    })
  })

  it.each([
    [['stats'], "unknown command 'stats'"],
    [['status', '--jsn'], "unknown option '--jsn'"],
    [['apply'], "required option '-f, --file <file>' not specified"],
    [['token', 'create'], "required option '--service <name>' not specified"],
    [['token', 'create', '--service', 'Nope'], 'expected a service name'],
    [['token', 'create', '--service', 'a', '--ttl', 'soon'], 'expected a duration'],
    [['token', 'create', '--service', 'a', '--uses', '0'], 'expected a whole number from 1'],
    [['rollback', 'a', '--to', 'first'], 'expected a whole number from 1'],
    [['rollback', 'a'], "required option '--to <version>' not specified; `inmesh history a` lists the versions"],
    [['get', '../v1'], 'expected a service name'],
    [['delete'], "missing required argument 'service'"],
    [['delete', 'a', 'b'], 'too many arguments'],
    [['audit', '--limit', '-5'], 'expected a whole number'],
    [['registry', '--log-level', 'loud'], 'Allowed choices are'],
    [['status', '--registry', 'not a url'], '--registry: expected an address such as'],
    [['status', '--registry', 'ftp://127.0.0.1'], '--registry: expected an address such as'],
    [['status', '--registry', 'http://10.1.2.3:7400'], 'plain http is for loopback addresses only'],
    [['status', '--registry', 'https://10.1.2.3:7400'], 'needs an admin token'],
    [['status', '--data-dir', '/nonexistent'], 'cannot read the admin token'],
    [['status', '--token', 'secret'], "expected an admin token ('inmesh-admin.…'); this is none"],
    [['ca', 'csr', '--dir', '/nonexistent/ca', '--registry', 'https://10.1.2.3:7400'], '--dir excludes --registry'],
    [['ca', 'csr', '--trust-domain', 'shop.example'], '--trust-domain is for a --dir'],
    [['ca', 'import', 'chain.pem', '--dir', '/nonexistent/ca', '--token', 'x'], '--dir excludes --token'],
    [['backup', '--verify', 'b', '--registry', 'https://10.1.2.3:7400'], '--verify excludes --registry'],
    [['backup', '--verify', 'b', '--store', 'etcd://127.0.0.1:1'], '--verify excludes --store'],
    [['backup', '--verify', 'b', '--force'], '--verify excludes --force'],
    [['backup', '--out', 'b', '--store', 'etcd://127.0.0.1:1', '--data-dir', 'd'], '--store excludes --data-dir'],
    [['registry', '--advertise', 'https://0.0.0.0:7400'], '--advertise: expected a URL that others reach'],
    [['registry', '--advertise', 'https://[::]:7400'], '--advertise: expected a URL that others reach'],
    [['registry', '--advertise', 'https://10.0.0.5:99999'], '--advertise: expected a URL that others reach'],
    [['registry', '--advertise', 'https://10.0.0.999:7400'], '--advertise: expected a URL that others reach'],
    [['apply', '-f', 'a.yaml', '-f', 'b.yaml'], "option '-f, --file <file>' is given more than once"],
    [['check', '-fa.yaml', '--file=b.yaml'], "option '-f, --file <file>' is given more than once"],
    [['get', 'a', '--registry', 'http://127.0.0.1:1', '--registry', 'http://127.0.0.1:1'], 'given more than once'],
    [['token', 'operator', 'create', 'a', '--ttl', '1h', '--ttl', '2h'], "option '--ttl <duration>' is given more"],
    [
      ['registry', '--name', 'a', 'b', '--name', 'c', '--port', '1', '--port', '2'],
      "option '--port <n>' is given more",
    ],
    [['explain', 'GET', 'x', '-H', 'a: 1', '-H', 'b: 2', '--from', 'a', '--from', 'b'], "'--from <service>' is given"],
    [['check', '-f', '/nonexistent/policies.yaml'], 'cannot read /nonexistent/policies.yaml'],
  ])('ends with 2 and one clear error: inmesh %j', async (args, message) => {
    const plain = await run(args, { env: {} })
    expect(plain).toMatchObject({ code: 2, stdout: '' })
    expect(plain.stderr).toContain('error: ')
    expect(plain.stderr).toContain(message)
    const json = await run([...args, '--json'], { env: {} })
    expect(json).toMatchObject({ code: 2, stdout: '' })
    expect(JSON.parse(json.stderr).error).toMatchObject({ code: expect.any(String), exitCode: 2 })
    expect(JSON.parse(json.stderr).error.message).toContain(message)
  })

  it('suggests the nearest command and option', async () => {
    expect((await run(['aply'])).stderr).toContain('Did you mean apply?')
    expect((await run(['status', '--registri', 'x'])).stderr).toContain('Did you mean --registry?')
  })

  it('prints the help of a group without its command, as an error', async () => {
    const { code, stdout, stderr } = await run(['token'])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain('inmesh token')
  })
})

describe('a registry that does not answer', () => {
  it.each([[['status']], [['services']], [['get']], [['token', 'list']], [['history', 'a']]])(
    'ends with 3: inmesh %j',
    async (args) => {
      const { code, stderr } = await run([...args, '--registry', NOWHERE, '--json'])
      expect(code).toBe(3)
      expect(JSON.parse(stderr).error).toMatchObject({ code: 'registry-unreachable', exitCode: 3 })
    },
  )

  it('is taken from INMESH_REGISTRY, and the flag wins', async () => {
    const env = { INMESH_REGISTRY: `${NOWHERE},https://127.0.0.1:2` }
    expect((await run(['status'], { env })).stderr).toContain(`no answer from the registry at ${NOWHERE}: connect`)
    const { stderr } = await run(['status', '--registry', 'https://127.0.0.1:3'], { env })
    expect(stderr).toContain('https://127.0.0.1:3')
  })
})

describe('check', () => {
  it.each(['check', 'convert'])('says nothing of applying: %s', async (command) => {
    const { code, stderr } = await run([command, '-f', '-'], { stdin: 'service: a\ntimout: 1s\n' })
    expect(code).toBe(2)
    expect(stderr).toMatch(/error: <stdin> has a mistake\n$/)
  })

  it('accepts a valid file', async () => {
    const stdin = 'service: mesh\n---\nservice: a\n'
    expect(await run(['check', '-f', '-'], { stdin })).toMatchObject({
      code: 0,
      stdout: '-: valid, 2 documents: mesh, a\n',
    })
    const json = await run(['check', '-f', '-', '--json'], { stdin })
    expect(JSON.parse(json.stdout)).toEqual({ valid: true, file: '-', services: ['mesh', 'a'] })
  })

  it('names every mistake with its place, as text and as JSON', async () => {
    const stdin = 'service: a\nretry:\n  atempts: 3\n'
    const plain = await run(['check', '-f', '-'], { stdin })
    expect(plain).toMatchObject({ code: 2, stdout: '' })
    expect(plain.stderr).toContain("<stdin>:3:3 retry.atempts: unknown key; did you mean 'attempts'?\n")
    const json = await run(['check', '-f', '-', '--json'], { stdin })
    expect(JSON.parse(json.stderr).error.issues).toEqual([
      { file: '<stdin>', line: 3, column: 3, path: 'retry.atempts', message: "unknown key; did you mean 'attempts'?" },
    ])
  })

  it('obeys no escape sequence of a file', async () => {
    const { stderr } = await run(['check', '-f', '-'], {
      stdin: 'service: a\n"\\e[2Jx": 1\n',
      terminal: true,
      env: { NO_COLOR: '1' },
    })
    expect(stderr).not.toContain('\u001b')
  })
})

describe('colour', () => {
  it('appears on a terminal only, and never with NO_COLOR', async () => {
    const args = ['check', '-f', '/nonexistent']
    expect((await run(args, { terminal: true })).stderr).toContain('\u001b[31merror:')
    expect((await run(args, { terminal: true, env: { NO_COLOR: '1' } })).stderr).not.toContain('\u001b')
    expect((await run(args)).stderr).not.toContain('\u001b')
  })
})

describe('schema', () => {
  it('is the published file: `npm run schema` makes it anew', async () => {
    const published = JSON.parse(readFileSync(new URL('../../policy.schema.json', import.meta.url), 'utf8'))
    expect(published).toEqual(JSON.parse(JSON.stringify(policyJsonSchema())))
    expect(JSON.parse((await run(['schema', '--json'])).stdout)).toEqual(published)
  })
})
