/** One instance of `inventory`: says which version answers, and counts the copies that it gets. */
import { currentCall, joinMesh } from 'inmesh'

export interface Counts {
  /** Calls whose answer somebody reads. */
  readonly calls: number
  readonly copies: number
}

export interface Order {
  /** Copies get no answer until it is taken back. */
  readonly hang: boolean
}

const version = process.env.CANARY_VERSION ?? ''
const mesh = await joinMesh({ service: 'inventory', version })
let calls = 0
let copies = 0
let hangs = false
let held: (() => void)[] = []

await mesh.serve((_request, response) => {
  const answer = (): void => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ version }))
  }
  if (currentCall()?.mirror !== true) {
    calls += 1
    answer()
    return
  }
  copies += 1
  if (hangs) held.push(answer)
  else answer()
})

process.on('message', (message: Order | 'report') => {
  if (message === 'report') {
    process.send?.({ calls, copies } satisfies Counts)
    return
  }
  hangs = message.hang
  if (hangs) return
  for (const answer of held) answer()
  held = []
})
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
