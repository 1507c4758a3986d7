import { expect, it } from 'vitest'
import { Call, type CallKind } from '../../../src/core/call.ts'
import type { CallDetails } from '../../../src/core/call-details.ts'
import { type Outcome, outcome, SUCCESS } from '../../../src/core/outcome.ts'
import { OptionsError } from '../../../src/options/fields.ts'
import { AccessLog } from '../../../src/telemetry/access-log/access-log.ts'
import { ACCESS_LOG, ACCESS_LOG_OPTION, type AccessLogOptions } from '../../../src/telemetry/access-log/settings.ts'
import { Metrics } from '../../../src/telemetry/metrics.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

const KIND: CallKind = { service: 'inventory', method: 'GET', protocol: 'http', streaming: false, idempotent: true }

class HostileCall extends Call {
  filler = ''

  override header(): string {
    return this.filler
  }

  override details(): CallDetails {
    return { ...super.details(undefined), path: `/${this.filler}` }
  }
}

function setUp(options: Partial<AccessLogOptions> = {}) {
  const clock = new FakeClock()
  const lines: Record<string, unknown>[] = []
  const settings = ACCESS_LOG_OPTION.resolve({ log: (line) => lines.push(JSON.parse(line)), ...options })
  const log = new AccessLog(settings, 'checkout', new Metrics(), clock)
  const end = (how: Outcome, { traceId, kind = KIND }: { traceId?: string; kind?: CallKind } = {}): void => {
    const call = new Call(kind, clock.now(), Number.POSITIVE_INFINITY, undefined)
    if (traceId !== undefined) call.trace = { traceId, spanId: 'b7ad6b7169203331', sampled: true, state: undefined }
    log.client.callEnded(call, how, clock.now())
  }
  return { log, lines, end, clock }
}

it('logs every failure, whatever the share', async () => {
  const { log, lines, end } = setUp({ sample: 0 })
  end(SUCCESS)
  end(outcome('failure', 'server-error', undefined, 500))
  end(outcome('refused', 'circuit-open'))
  end(outcome('cancelled', 'cancelled'))
  await log.close()
  expect(lines.map((line) => [line['inmesh.flag'], line['inmesh.logged'], line['error.type'], line.level])).toEqual([
    ['SE', 'failure', '500', 'warn'],
    ['CO', 'failure', 'circuit-open', 'warn'],
    ['DC', 'cancelled', 'cancelled', 'info'],
  ])
})

it('logs the given share of the rest', async () => {
  const { log, lines, end } = setUp({ sample: '10%' })
  for (let i = 0; i < 900; i++) end(SUCCESS)
  await log.close()
  expect(lines.length).toBeGreaterThan(50)
  expect(lines.length).toBeLessThan(140)
})

it('chooses by the trace, so that two processes choose alike', async () => {
  const [one, other] = [setUp({ sample: 0.5 }), setUp({ sample: 0.5 })]
  const ids = Array.from(
    { length: 64 },
    (_, i) => `${'0'.repeat(24)}${((i * 67_108_864 + 5) >>> 0).toString(16).padStart(8, '0')}`,
  )
  for (const traceId of ids) for (const { end } of [one, other]) end(SUCCESS, { traceId })
  await Promise.all([one.log.close(), other.log.close()])
  const traces = one.lines.map((line) => line.trace_id)
  expect(traces).toHaveLength(32)
  expect(other.lines.map((line) => line.trace_id)).toEqual(traces)
  expect(one.lines[0]).toMatchObject({ span_id: 'b7ad6b7169203331', trace_flags: '01' })
})

it('takes the word of documents for their service, and that of the process for the others', async () => {
  const { log, lines, end } = setUp({ sample: 1 })
  log.client.configure('inventory', false)
  end(SUCCESS)
  end(SUCCESS, { kind: { ...KIND, service: 'prices' } })
  log.client.configure('inventory', ACCESS_LOG.resolve({}))
  end(SUCCESS)
  await log.close()
  expect(lines.map((line) => line['service.peer.name'])).toEqual(['prices', 'inventory'])
})

it('logs an unknown method under one name, and the original beside it', async () => {
  const { log, lines, end } = setUp({ sample: 1 })
  end(SUCCESS, { kind: { ...KIND, method: 'BREW' } })
  await log.close()
  expect(lines).toMatchObject([{ 'http.request.method': '_OTHER', 'http.request.method_original': 'BREW' }])
})

it('makes no line longer than 16 KiB, whatever comes from outside', async () => {
  const headers = Array.from({ length: 16 }, (_, i) => `x-${'n'.repeat(60)}${i}`)
  for (const filler of ['€', '"', '\u0007', '\u{1f600}', '\ud800']) {
    const raw: string[] = []
    const settings = ACCESS_LOG_OPTION.resolve({ log: (line) => raw.push(line), sample: 1, headers })
    const clock = new FakeClock()
    const log = new AccessLog(settings, 'checkout', new Metrics(), clock)
    const call = new HostileCall(
      { ...KIND, method: filler.repeat(9_000) },
      clock.now(),
      Number.POSITIVE_INFINITY,
      undefined,
    )
    call.filler = filler.repeat(9_000)
    log.client.callEnded(call, SUCCESS, clock.now())
    await log.close()
    expect(raw).toHaveLength(1)
    expect(Buffer.byteLength(raw[0]!)).toBeLessThan(16_384)
  }
})

it.each([
  [{ log: {} }, 'log'],
  [{ log: 'stdout' }, 'log'],
  [{}, 'log'],
  [{ log() {}, sample: '200%' }, 'sample'],
  [{ log() {}, slowerThan: 0 }, 'slowerThan'],
  [{ log() {}, sides: ['peer'] }, 'sides'],
  [{ log() {}, headers: ['a b'] }, 'headers'],
  [{ log() {}, bodies: true }, 'bodies'],
])('refuses %o, naming the option', (options, field) => {
  expect(() => ACCESS_LOG_OPTION.resolve(options as never)).toThrow(OptionsError)
  expect(() => ACCESS_LOG_OPTION.resolve(options as never)).toThrow(field)
})
