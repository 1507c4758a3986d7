/** A Koa application in the mesh: who asks, probes, and a dependency that is missing. */
import { joinMesh } from 'inmesh'
import { meshMiddleware } from 'inmesh/koa'
import Koa from 'koa'

const mesh = await joinMesh({ service: 'inventory' })

const app = new Koa()
app.silent = true // it would print the error of /prices
app.use(meshMiddleware({ mesh })) // ctx.call, /livez, /readyz, errors of the mesh
app.use(async (ctx) => {
  const [, kind, sku] = ctx.path.split('/')
  if (kind === 'items') ctx.body = { sku, stock: 7, askedBy: ctx.call?.peer?.service }
  if (kind === 'prices') {
    const price = await mesh.fetch(`http://prices/${sku}`, { timeout: '200ms' })
    ctx.body = await price.json()
  }
})
await mesh.serve(app.callback()) // was: app.listen(8080)

for (const path of ['/items/42', '/readyz', '/prices/42']) {
  const response = await mesh.fetch(`http://inventory${path}`, { retry: false })
  console.log(response.status, (await response.text()).trim())
}
await mesh.close()
