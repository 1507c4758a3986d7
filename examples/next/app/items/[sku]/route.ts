import { mesh } from '../../../lib/mesh'

/** A route handler: passes on what the service answers. */
export async function GET(request: Request, { params }: { params: Promise<{ sku: string }> }): Promise<Response> {
  const { sku } = await params
  const inventory = (await mesh()).http('inventory')
  const answer = await inventory.get(`/items/${encodeURIComponent(sku)}`, { timeout: '1s', signal: request.signal })
  return Response.json(await answer.json(), { status: answer.status })
}
