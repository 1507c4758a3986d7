/**
 * Policies for plain functions and methods; no mesh and no registry. Node runs TypeScript by
 * leaving the types out, which decorators are not, so this example is compiled first:
 * `npx tsc -p examples/decorators && node examples/decorators/dist/main.js`.
 */
import { bulkhead, circuitBreaker, fallback, guard, isMeshError, retry, timeout } from 'inmesh/resilience'

let asked = 0
async function fetchQuote(sku: string): Promise<string> {
  asked += 1
  if (asked < 3) throw new Error('the price list is not there yet')
  return `${sku} costs 7, asked ${asked} times`
}

// A function: all of it in one place.
const quote = guard(fetchQuote, { timeout: '2s', retry: { attempts: 3 }, circuitBreaker: true })
console.log(await quote('sku-1'))

// Methods: in whatever order they are written, the time limit bounds all attempts, and the fallback
// has the last word.
class Prices {
  #rate = 2

  @retry({ attempts: 2 })
  @timeout('2s')
  async inEuros(amount: number): Promise<number> {
    return amount * this.#rate
  }

  @fallback((_error, sku: string) => `${sku}: no price right now`)
  @circuitBreaker({ minimumCalls: 2, resetAfter: '1m' })
  @timeout('50ms')
  @bulkhead(20)
  async quote(_sku: string): Promise<string> {
    return new Promise(() => {}) // never answers
  }

  @circuitBreaker({ minimumCalls: 2, resetAfter: '1m' })
  async audit(): Promise<void> {
    throw new Error('the disk is full')
  }
}

const prices = new Prices()
console.log(await prices.inEuros(21))
console.log(await prices.quote('sku-2'))

for (let call = 1; call <= 3; call++) {
  const error: unknown = await prices.audit().catch((error: unknown) => error)
  console.log(isMeshError(error) ? `${error.service} ${error.code}` : String(error))
}
