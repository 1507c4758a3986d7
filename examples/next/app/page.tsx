import { connection } from 'next/server'
import { mesh } from '../lib/mesh'

interface Item {
  readonly sku: string
  readonly left: number
}

/** A server component: rendered for each request, by a call of the mesh. */
export default async function Page() {
  // Without it, `next build` would render this page, where there is no mesh.
  await connection()
  const answer = await (await mesh()).fetch('http://inventory/items')
  const items = (await answer.json()) as Item[]
  return (
    <ul>
      {items.map(({ sku, left }) => (
        <li key={sku}>{`${sku}: ${left} left`}</li>
      ))}
    </ul>
  )
}
