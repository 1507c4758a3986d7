/** What a serverless platform runs: joins with its first event, and keeps nothing on disk. */
import { isMeshError, joinMesh, type Mesh } from '../../../src/index.ts'

const { service, registry } = JSON.parse(process.argv[2]!) as { service: string; registry: string }
let joined: Promise<Mesh> | undefined

process.on('message', async ({ path, timeout = '20s' }: { path?: string; timeout?: string }) => {
  if (path === undefined) {
    const startedAt = performance.now()
    await (await joined)?.close()
    process.send!({ closedIn: performance.now() - startedAt })
    process.disconnect()
    return
  }
  process.send!({ began: path })
  try {
    joined ??= joinMesh({ service, registry, stateDir: 'memory', joinTimeout: '30s' })
    const mesh = await joined
    const response = await mesh.fetch(`http://inventory${path}`, { timeout: timeout as '20s' })
    process.send!({ path, answer: await response.text() })
  } catch (error) {
    process.send!({ path, code: isMeshError(error) ? error.code : String(error) })
  }
})
process.send!({ started: true })
