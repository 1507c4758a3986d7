import { createServer } from 'node:http'
import { isMainThread, threadId, Worker } from 'node:worker_threads'

if (isMainThread) for (let i = 0; i < 2; i++) new Worker(new URL(import.meta.url))
else {
  const server = createServer((request, response) => {
    const ms = Number(new URL(request.url, 'http://localhost').searchParams.get('ms') ?? 0)
    if (ms > 0) console.log(JSON.stringify({ asked: request.url }))
    setTimeout(() => response.end(`thread-${threadId}`), ms)
  })
  server.listen(0, '127.0.0.1')
}
