import { bulkhead, circuitBreaker, fallback, retry, timeout } from 'inmesh/resilience'

export class Prices {
  @fallback(() => 0)
  @circuitBreaker()
  @retry({ attempts: 3 })
  @timeout('200ms')
  @bulkhead(20)
  async quote(sku: string): Promise<number> {
    return sku.length
  }
}
