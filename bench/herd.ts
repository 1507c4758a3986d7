/**
 * Measures the CPU time of a registry when 500 processes join, register, reconnect after kill -9
 * and renew certificates at once. Run `INMESH_HERD=1000 node bench/herd.ts [--json]` after `npm run
 * build`.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import type { Registry } from '../src/registry/index.ts'
import { instance } from '../test/rigs/instance.ts'
import { type Credentials, csrOf, newKey, request } from '../test/rigs/registry-session.ts'
import { type Report, runQuestions, single, withSubjects } from './harness.ts'
import { Session } from './registry-session.ts'
import { startRegistryProcess } from './testbed.ts'

const HERD = Number(process.env.INMESH_HERD ?? 500)
const SERVICE = 'crowd'
/** What a process asks for a certificate. */
const SUBJECTS = { join: '/v1/join', renew: '/v1/renew' } as const
const MOST_CPU_MS_EACH = 20

type Started = Awaited<ReturnType<typeof startRegistryProcess>>

export async function herd(): Promise<Report> {
  const directory = mkdtempSync(joinPath(tmpdir(), 'inmesh-bench-'))
  const dataDir = joinPath(directory, 'state')
  const rows: Record<string, string | number>[] = []
  try {
    return await withSubjects(async (keep) => {
      const start = async (): Promise<Started> => keep(await startRegistryProcess({ dataDir }))
      const cost = async (what: string, registry: Started, work: () => Promise<unknown>): Promise<number> => {
        const before = await registry.ask<number>('cpu')
        const begunAt = performance.now()
        await work()
        const wallMs = Math.round(performance.now() - begunAt)
        const cpuMs = Math.round((await registry.ask<number>('cpu')) - before)
        rows.push({ [`${HERD} at once`]: what, 'CPU ms': cpuMs, 'CPU ms each': cpuMs / HERD, 'ms in all': wallMs })
        return cpuMs
      }
      const first = await start()
      const adminToken = readFileSync(joinPath(dataDir, 'admin-token'), 'utf8').trim()
      const admin = { ...first.ready, adminToken } as unknown as Registry
      const made = { service: SERVICE, uses: HERD }
      const { token } = (await request(admin, 'POST', '/v1/tokens', { admin: true, body: made })).json
      const keys = Array.from({ length: HERD }, newKey)
      const csrs = keys.map(csrOf)
      const members: Credentials[] = []
      await cost('join', first, () =>
        Promise.all(
          keys.map(async (key, i) => {
            const body = { service: SERVICE, csr: csrs[i], token }
            members[i] = { key, cert: await certificate(admin, SUBJECTS.join, body) }
          }),
        ),
      )
      let sessions: Session[] = []
      const open = async (registry: Started): Promise<void> => {
        sessions = members.map((member) => new Session(registry.ready, member, SERVICE))
        await Promise.all(sessions.map(enter))
      }
      await cost('register', first, () => open(first))
      for (const session of sessions) session.close()
      await first.close()
      const second = await start()
      const backMs = await cost('come back after kill -9', second, () => open(second))
      const again = second.ready as unknown as Registry
      await cost('renew', second, () =>
        Promise.all(members.map((member, i) => certificate(again, SUBJECTS.renew, { csr: csrs[i] }, member))),
      )
      for (const session of sessions) session.close()
      const target = {
        what: `CPU ms until ${HERD} are back`,
        found: single(backMs),
        wanted: { atMost: HERD * MOST_CPU_MS_EACH },
      }
      return { title: 'What a crowd costs a registry', rows, targets: [target], figures: { herd: { backMs } } }
    })
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

async function certificate(registry: Registry, path: string, body: object, credentials?: Credentials): Promise<string> {
  const answer = await request(registry, 'POST', path, { body, ...(credentials === undefined ? {} : { credentials }) })
  if (answer.status !== 200) throw new Error(`${path}: ${answer.text}`)
  return answer.json.certificate
}

/** As a member does it: until its instance is stored and it knows the others. */
async function enter(session: Session, i: number): Promise<void> {
  await session.ready
  const snapshot = new Promise<void>((resolve) => {
    session.heard = (line) => {
      const { type, revision } = REVISION.exec(line.slice(0, 300))?.groups ?? {}
      if (type === undefined) return
      session.send({ type: 'ack', service: SERVICE, revision: Number(revision) })
      if (type === 'snapshot') resolve()
    }
  })
  session.send({ type: 'watch', service: SERVICE })
  await Promise.all([session.register(instance(SERVICE, `i-${i}`, { port: 10_000 + i })), snapshot])
}

const REVISION = /^\{"type":"(?<type>snapshot|delta)",.*?"revision":(?<revision>\d+)/

if (import.meta.main) await runQuestions([herd])
