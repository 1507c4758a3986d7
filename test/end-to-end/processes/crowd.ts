/**
 * Many members of a mesh in one process, each with a separate identity and session; with `serve`,
 * each is an instance too.
 */
import { joinMesh, type Mesh } from '../../../src/index.ts'
import { obey, options, report } from './parent.ts'

const { size, service, serve = false, mesh: meshOptions } = options
const crowd: Mesh[] = []

async function join(): Promise<Mesh> {
  const mesh = await joinMesh(meshOptions)
  if (serve) await mesh.serve((_req, res) => res.end('crowd'), { host: '127.0.0.1' })
  return mesh
}

for (let i = 0; i < size; i += 10) {
  crowd.push(...(await Promise.all(Array.from({ length: Math.min(10, size - i) }, join))))
}

async function isAnswered(mesh: Mesh): Promise<boolean> {
  try {
    const response = await mesh.http(service).get('/', { timeout: '30s' })
    await response.text()
    return response.ok
  } catch {
    return false
  }
}

/**
 * How many calls were answered with success; a few at a time, because each begins with handshakes.
 */
async function callAll(): Promise<number> {
  let answered = 0
  for (let i = 0; i < crowd.length; i += 10) {
    const answers = await Promise.all(crowd.slice(i, i + 10).map(isAnswered))
    answered += answers.filter(Boolean).length
  }
  return answered
}

/** How many have applied this revision of their service's policy, or a later one. */
function upTo(revision: number): number {
  const known = (mesh: Mesh): number => Number(/^inmesh_config_revision\{.*\} (\d+)$/m.exec(mesh.metrics())?.[1] ?? -1)
  return crowd.filter((mesh) => known(mesh) >= revision).length
}

/** How many have emitted the event `name`. */
function told(name: string): number {
  return crowd.filter((mesh) => mesh.events().some((event) => event.name === name)).length
}

/** How many lost their instance for good: what a busy machine made late is listed again. */
function refused(): number {
  const reasons = ['refused', 'replaced']
  return crowd.filter((mesh) =>
    mesh.events().some(({ name, payload }) => name === 'instance:unlisted' && reasons.includes(String(payload.reason))),
  ).length
}

obey(async (order) => {
  if (order === 'call') report({ answered: await callAll() })
  else if (order === 'close') {
    await Promise.all(crowd.map((mesh) => mesh.close()))
    process.exit(0)
  } else if (order === 'lost') report({ lost: told('registry:lost') })
  else if (order === 'refused') report({ refused: refused() })
  else report({ upTo: upTo(Number(order)) })
})
report({ joined: crowd.length, stale: crowd[0]!.stale })
