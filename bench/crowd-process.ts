/** Many members of a mesh in one process, each with a separate identity and session. */
import { joinMesh, type Mesh, type MeshOptions } from 'inmesh'
import { answer, givenJob } from './measured-process.ts'

export interface CrowdJob {
  readonly size: number
  readonly mesh: MeshOptions
}

/** Joins under way at the same time. */
const TOGETHER = 5

const { size, mesh: options } = givenJob<CrowdJob>()
const crowd: Mesh[] = []

answer({
  /** How many have a session. */
  connected: () => crowd.filter((mesh) => /^inmesh_registry_connected\{.*\} 1$/m.test(mesh.metrics())).length,
})

for (let i = 0; i < size; i += TOGETHER) {
  const group = Array.from({ length: Math.min(TOGETHER, size - i) }, () => joinMesh(options))
  crowd.push(...(await Promise.all(group)))
}
