/** Two workers of a cluster, each of which serves on a free port and on a given one. */
import cluster from 'node:cluster'
import { joinMesh, type MeshOptions } from '../../../src/index.ts'

const { port, ...options } = JSON.parse(process.argv[2]!) as MeshOptions & { port: number }
const tell = (message: object): void => void process.send!(message)

if (cluster.isPrimary) {
  cluster.on('message', (_worker, message) => tell(message))
  const workers = [cluster.fork(), cluster.fork()]
  process.on('message', () => {
    for (const worker of workers) worker.send('share')
  })
} else {
  process.on('warning', (warning) => tell({ warning: (warning as { code?: string }).code }))
  const mesh = await joinMesh(options)
  const serve = (given?: number) =>
    mesh.serve((_request, response) => void response.end(String(cluster.worker!.id)), {
      host: '127.0.0.1',
      ...(given !== undefined && { port: given }),
    })
  const free = await serve()
  tell({ served: free.port })
  process.on('message', async () => {
    await serve(port)
    tell({ shared: port })
  })
}
