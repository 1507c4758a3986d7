import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, it, vi } from 'vitest'
import { detached } from '../../../src/core/context.ts'
import { guard } from '../../../src/resilience/guard/guard.ts'
import { currentCall } from '../../../src/server/current-call.ts'
import { until } from '../../client/http/rig.ts'
import { begin, KINDS, type ShopHandlers } from '../../rigs/shop.ts'
import { serveShop, shopClient } from './rig.ts'

const PATIENT = { timeout: 30_000 }

const local = guard(async () => 'ran')

async function call(): Promise<string> {
  try {
    return await local()
  } catch (error) {
    return (error as { code: string }).code
  }
}

/** Handlers of every kind that keep their context, and end when the test ends them. */
function keeping(kept: {
  look?: () => Promise<string>
  apart?: () => Promise<string>
  end?: () => void
  method?: string | undefined
}): ShopHandlers {
  const keep = (end: () => void): void => {
    kept.look = AsyncLocalStorage.bind(() => {
      kept.method = currentCall()?.method
      return call()
    })
    kept.apart = AsyncLocalStorage.bind(() => detached(call))
    kept.end = end
  }
  return {
    Get: (_call, answer) => keep(() => answer(null, {})),
    Upload: (_call, answer) => keep(() => answer(null, {})),
    Watch: (stream) => keep(() => stream.end()),
    Chat: (stream) => keep(() => stream.end()),
  }
}

it('calls of all kinds leave behind what makes calls after their answers, whatever their deadline was', async () => {
  const deadline = Date.now() + 6_000
  const left = KINDS.map(async (kind) => {
    const kept: Parameters<typeof keeping>[0] = {}
    const { server } = await serveShop(keeping(kept))
    const asked = begin(shopClient(server.port), kind, { deadline, items: [{ sku: '1' }] })
    await until(() => kept.look !== undefined)
    kept.end!()
    expect((await asked.ended).code).toBe(0)
    return kept
  })
  for (const kept of await Promise.all(left)) {
    await until(() => Date.now() > deadline + 100)
    expect(await kept.look!()).toBe('ran')
    expect(kept.method).toMatch(/^\/shop\.Inventory\//)
  }
})

describe.each(KINDS)('what a %s call leaves behind', (kind) => {
  it('is bound by a call that was given up until its handler has ended, but for what is detached', async () => {
    const kept: Parameters<typeof keeping>[0] = {}
    const { server } = await serveShop(keeping(kept))
    const asked = begin(shopClient(server.port), kind, { items: [{ sku: '1' }] })
    await until(() => kept.look !== undefined)
    asked.call.cancel()
    await vi.waitFor(async () => expect(await kept.look!()).toBe('cancelled'), PATIENT)
    expect(await kept.apart!()).toBe('ran')
    kept.end!()
    await vi.waitFor(async () => expect(await kept.look!()).toBe('ran'), PATIENT)
  })
})
