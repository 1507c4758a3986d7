// A client whose own timeouts are shorter than any answer. It ends by itself.
import { request } from 'node:http'

const tell = (client, error) => console.log(JSON.stringify({ client, error }))

await fetch('http://stock.mesh/', { signal: AbortSignal.timeout(200) }).catch(({ name }) => tell('fetch', name))

const ask = (client, host) =>
  new Promise((resolve) => {
    request({ host, timeout: 200 })
      .on('timeout', function () {
        this.destroy(new Error('slow'))
      })
      .on('error', ({ message }) => resolve(tell(client, message)))
      .end()
  })
await ask('node:http', 'stock.mesh')
await ask('node:http to a host that may be a service', 'stock')
