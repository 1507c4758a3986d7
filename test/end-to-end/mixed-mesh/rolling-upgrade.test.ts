/**
 * A mesh is upgraded from a version that knows of one transport only, and taken back, process by
 * process under load: no call is lost, and none is executed twice.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { titleWith } from '../../rigs/installed.ts'
import { type Process, Rig } from '../rig.ts'
import { MixedMesh } from './mixed-mesh.ts'
import { OF_ONE_TRANSPORT, olderLibrary, WITHOUT_OLDER } from './older.ts'

const TEST_MS = 240_000
const PER_SECOND = 60
const OPEN = [{ service: 'mesh', defaultIntention: 'allow' }]

/** Which of the two a process is of: what its answers say, and what carries them. */
interface Version {
  readonly name: 'old' | 'new'
  readonly library?: string
}

const NEW: Version = { name: 'new' }
let old: Version
let rig: Rig
let registry: Process
let mesh: MixedMesh

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

/** On the same data and port each time. */
async function startRegistry(version: Version): Promise<void> {
  const known = registry?.messages[0] as { port: number; tokens: Record<string, string> } | undefined
  const given = { library: version.library, dataDir: rig.path('registry'), port: known?.port ?? 0, lease: 2_000 }
  const first = known === undefined ? { tokens: ['inventory', 'checkout'], policies: OPEN } : {}
  registry = await rig.start('registry', JSON.parse(JSON.stringify({ ...given, ...first })))
  const { url, tokens } = registry.messages[0] as { url: string; tokens: Record<string, string> }
  mesh ??= new MixedMesh(rig, async (service) => ({ registry: url, joinToken: tokens[service]! }))
}

async function replaceRegistry(version: Version): Promise<void> {
  await registry.ask('close')
  await registry.exited
  await startRegistry(version)
}

/** Answers that a caller gets from an instance of these versions. */
function between(caller: Version, server: Version, instance: string): string[] {
  const both = caller === NEW && server === NEW
  if (!both && !OF_ONE_TRANSPORT) return [`http ${instance} `, `grpc ${instance} `]
  return [`http ${instance} ${both ? 'inmesh/1' : 'http/1.1'}`, `grpc ${instance} ${both ? 'inmesh/1' : 'h2'}`]
}

/** Replaces the servers one by one; callers of both versions get answers from both all along. */
async function replaceServers(to: Version, callers: readonly (readonly [Process, Version])[]): Promise<void> {
  for (const place of ['a', 'b']) {
    await mesh.replace(place, `${place}-${to.name}`, to)
    for (const [caller, version] of callers) {
      await mesh.answers(caller, between(version, to, `${place}-${to.name}`))
    }
  }
}

describe.skipIf(WITHOUT_OLDER)(titleWith(WITHOUT_OLDER, 'a rolling upgrade from one transport to more'), () => {
  beforeEach(async () => {
    registry = undefined as never
    mesh = undefined as never
    old = { name: 'old', library: olderLibrary(rig.directory) }
    await startRegistry(old)
    await Promise.all(['a', 'b'].map((place) => mesh.serve(place, `${place}-old`, old)))
  })

  test(
    'loses no call when the registry comes first, then the servers, then the callers',
    async () => {
      const before = await mesh.call('old-caller', PER_SECOND, old)
      await mesh.answers(before, [...between(old, old, 'a-old'), ...between(old, old, 'b-old')])
      await replaceRegistry(NEW)
      const after = await mesh.call('new-caller', PER_SECOND, NEW)
      await mesh.answers(after, [...between(NEW, old, 'a-old'), ...between(NEW, old, 'b-old')])
      await replaceServers(NEW, [
        [before, old],
        [after, NEW],
      ])
      await mesh.end(before)
      await mesh.settle()
      expect(mesh.answered).toBeGreaterThan(300)
    },
    TEST_MS,
  )

  test(
    'loses no call when the registry comes last, and none when all is taken back',
    async () => {
      const before = await mesh.call('old-caller', PER_SECOND, old)
      const after = await mesh.call('new-caller', PER_SECOND, NEW)
      const callers = [[before, old] as const, [after, NEW] as const]
      await mesh.answers(after, between(NEW, old, 'a-old'))
      // An old registry passes no announcement on; TLS agrees all the same.
      await replaceServers(NEW, callers)
      await replaceRegistry(NEW)
      await mesh.answers(after, [...between(NEW, NEW, 'a-new'), ...between(NEW, NEW, 'b-new')])
      await mesh.answers(before, [...between(old, NEW, 'a-new'), ...between(old, NEW, 'b-new')])
      await replaceServers(old, callers)
      await replaceRegistry(old)
      for (const [caller, version] of callers) await mesh.answers(caller, between(version, old, 'b-old'))
      await mesh.settle()
      expect(mesh.answered).toBeGreaterThan(300)
    },
    TEST_MS,
  )
})
