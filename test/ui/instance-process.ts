/** An instance in a separate process, for tests that kill it. Prints its port. */
import { joinMesh } from '../../src/index.ts'

const [registry = '', joinToken = '', service = '', version = ''] = process.argv.slice(2)
const joining = { service, registry, joinToken, version, joinTimeout: '30s' } as const
const mesh = await joinMesh({ ...joining, stateDir: 'memory', handleSignals: false })
const { port } = await mesh.serve((_request, response) => response.end('ok'), { port: 0, host: '127.0.0.1' })
console.log(port)
