/**
 * A process that serves and calls itself, then closes its mesh, or simply has nothing more to do.
 * What it prints is for the test.
 */
import { joinMesh } from '../../../src/index.ts'
import { options, report } from './parent.ts'

const mesh = await joinMesh({ ...options.mesh, handleSignals: true })
if (options.serve) await mesh.serve((_req, res) => res.end('hello'), { host: '127.0.0.1' })
const client = mesh.http(options.calls)
for (let i = 0; i < 5; i++) {
  const response = await client.get('/')
  if ((await response.text()) === '') throw new Error('no answer')
}
await (await mesh.fetch(`http://${options.calls}/`)).text()
if (options.close) await mesh.close()
report('done')
// The channel to the test is the test's, and would keep this process alive.
process.disconnect()
