/** Where a process keeps its state when it may write little or nothing, as in a container. */
import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { joinMesh } from '../../src/index.ts'
import { startRegistry } from '../../src/registry/index.ts'

const INDEX = new URL('../../src/index.ts', import.meta.url).href
const PROGRAM = `
  import { joinMesh } from '${INDEX}'
  process.on('warning', ({ code, message }) => console.log(\`warning \${code}: \${message}\`))
  const mesh = await joinMesh({ registry: 'https://127.0.0.1:1', startWithoutRegistry: true })
  console.log('runs')
  await mesh.close()
`
/** It has no entry in \`/etc/passwd\` and owns nothing. */
const STRANGER = 64_321
const isRoot = process.getuid?.() === 0

/** What the program prints: as another user, if this is root. */
function run(env: Record<string, string>): Promise<string> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM], {
    env: { PATH: process.env.PATH ?? '', INMESH_SERVICE: 'checkout', NODE_NO_WARNINGS: '1', ...env },
    ...(isRoot && { uid: STRANGER, gid: STRANGER }),
    cwd: '/',
  })
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (part) => {
      printed += part
    })
  return new Promise((resolve) => child.once('close', () => resolve(printed)))
}

function directory(): string {
  const made = mkdtempSync(join(tmpdir(), 'inmesh-state-'))
  chmodSync(made, 0o755)
  onTestFinished(() => rmSync(made, { recursive: true, force: true }))
  return made
}

const IN_MEMORY = /^warning INMESH_STATE_IN_MEMORY: .*kept in memory.*cannot be used \(E[A-Z]+.*INMESH_STATE_DIR/m

describe('the default state directory', () => {
  it('gives way to memory, with one warning, where a file is in the way', async () => {
    const file = join(directory(), 'home')
    writeFileSync(file, '')
    const printed = await run({ HOME: file })
    expect(printed).toMatch(IN_MEMORY)
    expect(printed.match(/INMESH_STATE_IN_MEMORY/g)).toHaveLength(1)
    expect(printed).toContain('runs')
  })

  it.skipIf(!isRoot)(
    'gives way to memory for a user without an entry and a home (only root may become one)',
    async () => {
      for (const home of [{ HOME: '/' }, {}] as Record<string, string>[]) {
        const printed = await run(home)
        expect(printed).toMatch(IN_MEMORY)
        expect(printed).toContain('runs')
      }
    },
  )

  it('is used where it can be written', async () => {
    const home = directory()
    chmodSync(home, 0o777)
    const printed = await run({ HOME: '/', XDG_STATE_HOME: home })
    expect(printed).toContain('runs\n')
    expect(printed).not.toMatch(IN_MEMORY)
  })
})

describe('a state directory that was asked for', () => {
  it('and cannot be made is an error that says what to do', async () => {
    const file = join(directory(), 'file')
    writeFileSync(file, '')
    const joining = joinMesh({ service: 'checkout', stateDir: join(file, 'state'), handleSignals: false })
    await expect(joining).rejects.toThrow(/^joinMesh: stateDir: .*ENOTDIR.*stateDir.*INMESH_STATE_DIR.*'memory'/)
  })

  it.skipIf(!isRoot)('and cannot be written is an error, too (only root may make one)', async () => {
    const made = directory()
    mkdirSync(join(made, 'state'), { mode: 0o755 })
    const printed = await run({ INMESH_STATE_DIR: join(made, 'state') })
    expect(printed).toMatch(/joinMesh: stateDir: .*state cannot be used \(EACCES.*INMESH_STATE_DIR.*'memory'/)
    expect(printed).not.toContain('runs')
  })
})

it('a process without a service is told of the variable', async () => {
  await expect(joinMesh()).rejects.toThrow(/^joinMesh: service: is missing; .*set INMESH_SERVICE$/)
})

it('a state directory is shared by the processes of a service', async () => {
  const registry = await startRegistry({ port: 0, memory: true, log: false })
  onTestFinished(() => registry.close())
  const joinToken = await registry.createJoinToken({ service: 'checkout', uses: 3 })
  const options = {
    service: 'checkout',
    registry: registry.url,
    stateDir: join(directory(), 'state'),
    joinTimeout: 30_000,
  }
  const joining = Array.from({ length: 3 }, () => joinMesh({ ...options, joinToken, handleSignals: false }))
  const meshes = await Promise.all(joining)
  await Promise.all(meshes.map((mesh) => mesh.serve((_request, response) => response.end('ok'), { port: 0 })))
  await expect.poll(async () => (await meshes[0]!.instancesOf('checkout', 0)).length).toBe(3)
  await Promise.all(meshes.map((mesh) => mesh.close()))
  // The next one needs no token.
  const again = await joinMesh({ ...options, handleSignals: false })
  expect(again.state).toBe('ready')
  await again.close()
})
