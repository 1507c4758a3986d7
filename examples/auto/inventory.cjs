/** An Express application that knows nothing of a mesh. */
const express = require('express')

const app = express()
app.get('/items/:sku', (req, res) =>
  res.json({ sku: req.params.sku, stock: 7, encrypted: req.socket.encrypted === true }),
)
app.listen(Number(process.env.PORT ?? 8080), () => console.log('inventory is ready'))
