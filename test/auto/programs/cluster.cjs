const cluster = require('node:cluster')
const http = require('node:http')

if (cluster.isPrimary) {
  for (let i = 0; i < 2; i++) cluster.fork()
  cluster.on('listening', (worker, { port }) => console.log(JSON.stringify({ worker: worker.id, port })))
  process.on('SIGTERM', () => {
    for (const worker of Object.values(cluster.workers)) worker.kill('SIGTERM')
  })
} else http.createServer((_request, response) => response.end(`cluster-${cluster.worker.id}`)).listen(0, '127.0.0.1')
