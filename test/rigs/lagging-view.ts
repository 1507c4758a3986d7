/**
 * One registry's view of a store that others share: while it lags it learns of their writes only
 * when it writes, as over a slow watch.
 */
import type { Batch, Compare, Operation, Storage, TransactionResult } from '../../src/registry/storage/storage.ts'

export function laggingView(shared: Storage): Storage & { lag(): void; catchUp(): void } {
  let lags = false
  let waiting: (() => void)[] = []
  const catchUp = (): void => {
    const due = waiting
    waiting = []
    for (const deliver of due) deliver()
  }
  return {
    transact: async (compares: readonly Compare[], operations: readonly Operation[]): Promise<TransactionResult> => {
      const result = await shared.transact(compares, operations)
      catchUp()
      return result
    },
    list: (prefix) => shared.list(prefix),
    scan: (prefix) => shared.scan(prefix),
    watch: (prefix: string, after: number, listener: (batch: Batch) => void) =>
      shared.watch(prefix, after, (batch) => {
        if (lags) waiting.push(() => listener(batch))
        else listener(batch)
      }),
    campaign: (name) => shared.campaign(name),
    announce: (key, value) => shared.announce(key, value),
    status: () => shared.status(),
    onStatus: (listener) => shared.onStatus(listener),
    close: async () => {},
    lag: () => {
      lags = true
    },
    catchUp: () => {
      lags = false
      catchUp()
    },
  }
}
