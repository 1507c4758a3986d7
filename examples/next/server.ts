/**
 * Next as a server of the mesh, in place of `next start`: callers of the mesh are verified, and
 * browsers come in plaintext. `node server.ts` after `next build`.
 */
import { createServer } from 'node:http'
import next from 'next'
import { mesh } from './lib/mesh.ts'

const app = next({ dev: process.env.NODE_ENV === 'development' })
await app.prepare()
const server = createServer(app.getRequestHandler())
server.on('upgrade', app.getUpgradeHandler())

const joined = await mesh()
const { port } = await joined.serve(server, { port: Number(process.env.PORT ?? 3000), mode: 'permissive' })
console.log(`serves on ${port}`)

// The mesh leaves the signals to Next (lib/mesh.ts), and here is no `next start`.
process.once('SIGTERM', async () => {
  await joined.drain()
  await app.close()
  await joined.close()
  process.exit(0)
})
