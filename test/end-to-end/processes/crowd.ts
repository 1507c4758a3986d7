/** Many clients of one service in one process, each with an identity and a session of its own. */
import { joinMesh, type Mesh } from '../../../src/index.ts'
import { obey, options, report } from './parent.ts'

const { size, service, mesh: meshOptions } = options
const crowd: Mesh[] = []
for (let i = 0; i < size; i += 10) {
  const joining = Array.from({ length: Math.min(10, size - i) }, () => joinMesh(meshOptions))
  crowd.push(...(await Promise.all(joining)))
}

/** How many calls were answered with success. */
async function callAll(): Promise<number> {
  const calls = crowd.map((mesh) =>
    mesh
      .http(service)
      .get('/')
      .then(async (response) => {
        await response.text()
        return response.ok
      })
      .catch(() => false),
  )
  return (await Promise.all(calls)).filter(Boolean).length
}

/** How many have the policy of their own service of this revision, or a later one. */
function upTo(revision: number): number {
  const known = (mesh: Mesh): number => Number(/^inmesh_config_revision\{.*\} (\d+)$/m.exec(mesh.metrics())?.[1] ?? -1)
  return crowd.filter((mesh) => known(mesh) >= revision).length
}

obey(async (order) => {
  if (order === 'call') report({ answered: await callAll() })
  else if (order === 'close') {
    await Promise.all(crowd.map((mesh) => mesh.close()))
    process.exit(0)
  } else if (order === 'lost') {
    report({ lost: crowd.filter((mesh) => mesh.events().some(({ name }) => name === 'registry:lost')).length })
  } else report({ upTo: upTo(Number(order)) })
})
report({ joined: crowd.length, stale: crowd[0]!.stale })
