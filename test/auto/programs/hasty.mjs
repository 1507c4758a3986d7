// A client whose own timeouts are shorter than any answer. It ends by itself.
import { subscribe } from 'node:diagnostics_channel'
import { request } from 'node:http'

const tell = (client, error) => console.log(JSON.stringify({ client, error }))

const required = []
subscribe('tracing:module.require:end', ({ id }) => required.push(id))

const ask = (client, host) =>
  new Promise((resolve) => {
    request({ host, timeout: 200 })
      .on('timeout', function () {
        this.destroy(new Error('slow'))
      })
      .on('error', ({ message }) => resolve(tell(client, message)))
      .end()
  })
const first = ask('node:http', 'stock.mesh')
// Before the call returns, so that no timer of the program waits for it.
const loaded = required.some((id) => id.includes('/mesh/open-mesh'))
await first
await fetch('http://stock.mesh/', { signal: AbortSignal.timeout(200) }).catch(({ name }) => tell('fetch', name))
await ask('node:http to a host that may be a service', 'stock')
tell('the library was loaded within the first call', loaded)
