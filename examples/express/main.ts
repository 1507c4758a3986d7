/** An Express 5 application in the mesh; nothing of it changes but one line. */
import express from 'express'
import { currentCall, joinMesh } from 'inmesh'

const mesh = await joinMesh({ service: 'inventory' })

const app = express()
app.get('/items/:sku', (req, res) => {
  res.json({ sku: req.params.sku, stock: 7, askedBy: currentCall()?.peer?.service })
})
await mesh.serve(app) // was: app.listen(8080)

const response = await mesh.fetch('http://inventory/items/42')
console.log(await response.text())
await mesh.close()
