import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readOrca } from '../../../src/client/orca/read-orca.ts'
import { OrcaWriter } from '../../../src/server/orca-writer.ts'

const read = (text: string) => readOrca(text, undefined, 7)
const capacity = (text: string) => read(text)?.capacity

const OURS = { inFlight: 3, latencyMs: 12.5, servedMs: 9.8, arrivedAt: 7 }
const NAMED = { 'inmesh.in_flight': 3, 'inmesh.latency_ms': 12.5, 'inmesh.served_ms': 9.8 }

describe('a report of ORCA', () => {
  it('gives requests per second over utilization, and errors count as a whole server each', () => {
    expect(read('TEXT cpu_utilization=0.5,rps_fractional=100')).toEqual({
      inFlight: 0,
      latencyMs: 0,
      servedMs: 0,
      arrivedAt: 7,
      capacity: 200,
    })
    expect(capacity('TEXT cpu_utilization=0.5, application_utilization=0.25, rps_fractional=100')).toBe(400)
    expect(capacity('TEXT cpu_utilization=0.5,rps_fractional=100,eps=50')).toBe(100)
    expect(capacity('TEXT cpu_utilization=0.5,rps=100')).toBe(200)
  })

  it('is read as JSON, with names and numbers of ProtoJSON', () => {
    expect(capacity('JSON {"cpu_utilization":0.5,"rps_fractional":100}')).toBe(200)
    expect(capacity('JSON {"applicationUtilization":0.5,"rpsFractional":"1e2","eps":0}')).toBe(200)
    expect(capacity('JSON {"cpu_utilization":0.5,"rps":"100","other":{"a":[1]},"named_metrics":{"x":-1}}')).toBe(200)
    expect(read(`JSON ${JSON.stringify({ named_metrics: NAMED })}`)).toEqual(OURS)
    expect(read(`JSON ${JSON.stringify({ namedMetrics: NAMED })}`)).toEqual(OURS)
  })

  it('with the metrics of a server of the mesh is the same as the report of that server', () => {
    const named = Object.entries(NAMED).map(([name, value]) => `named_metrics.${name}=${value}`)
    expect(read(`TEXT ${named.join(',')}`)).toEqual(OURS)
    expect(read(`TEXT cpu_utilization=0.5,rps_fractional=100,${named.join(',')}`)).toEqual(OURS)
    expect(capacity(`TEXT cpu_utilization=0.5,rps_fractional=100,${named[0]}`)).toBe(200)
  })

  it('is read in binary form, in either header', () => {
    const writer = new OrcaWriter()
    writer.utilization({ application: 0.5, cpu: 0.1, requestsPerSecond: 100, errorsPerSecond: 0 })
    const binary = writer.binary(undefined)!
    expect(readOrca(undefined, binary, 7)!.capacity).toBe(200)
    expect(capacity(`BIN ${binary}`)).toBe(200)
    expect(readOrca(undefined, binary.replace(/=+$/, ''), 7)!.capacity).toBe(200)
    expect(readOrca(undefined, writer.binary(OURS), 7)).toEqual(OURS)
  })

  it('whose fields of other kinds are skipped, in binary form', () => {
    const double = (field: number, value: number): Buffer => {
      const bytes = Buffer.alloc(9)
      bytes[0] = (field << 3) | 1
      bytes.writeDoubleLE(value, 1)
      return bytes
    }
    const strange = Buffer.from([
      ...[(4 << 3) | 2, 3, 1, 2, 3], // request_cost
      ...[(3 << 3) | 0, 0xac, 0x02], // rps: 300
      ...[(15 << 3) | 5, 1, 2, 3, 4], // 32 bits
      ...[(6 << 3) | 0, 1], // rps_fractional, of the wrong kind
    ])
    const binary = Buffer.concat([strange, double(1, 0.5)]).toString('base64')
    expect(readOrca(undefined, binary, 7)!.capacity).toBe(600)
  })

  it('is read as JSON with names and values that look like names', () => {
    const others = String.raw`"utilization":{"a:\":":1,"b":2},"request_cost":{"eps":1},"x":["\":",{"":1}],"__proto__":{"y":0}`
    expect(read(`JSON {${others},"cpu_utilization":0.5,"rps_fractional":100}`)!.capacity).toBe(200)
  })

  it.each([
    '',
    'TEXT ',
    'TEXT',
    'text cpu_utilization=0.5,rps_fractional=100',
    'XML <a/>',
    'TEXT cpu_utilization=0.5',
    'TEXT rps_fractional=100',
    'TEXT cpu_utilization=0,rps_fractional=100',
    'TEXT cpu_utilization=NaN,rps_fractional=100',
    'TEXT cpu_utilization=Infinity,rps_fractional=100',
    'TEXT cpu_utilization=0.5,rps_fractional=1e400',
    'TEXT cpu_utilization=0.5,rps_fractional=1e300',
    'TEXT cpu_utilization=1e-299,rps_fractional=1e9',
    'TEXT cpu_utilization=-0.5,rps_fractional=100',
    'TEXT cpu_utilization=0.5,rps_fractional=100,eps=-1',
    'TEXT cpu_utilization=0.5,rps_fractional=100,rps_fractional=100',
    'TEXT cpu_utilization=0x1,rps_fractional=100',
    'TEXT cpu_utilization=,rps_fractional=100',
    'TEXT cpu_utilization=0.5,rps_fractional=100,',
    'TEXT =0.5,rps_fractional=100',
    'TEXT named_metrics.inmesh.in_flight=-3,named_metrics.inmesh.latency_ms=1,named_metrics.inmesh.served_ms=1',
    'TEXT named_metrics.inmesh.in_flight=65536,named_metrics.inmesh.latency_ms=1,named_metrics.inmesh.served_ms=1',
    'TEXT named_metrics.inmesh.in_flight=1,named_metrics.inmesh.latency_ms=0,named_metrics.inmesh.served_ms=1',
    'TEXT cpu_utilization=0.5,rps_fractional=100, TEXT cpu_utilization=0.5',
    'JSON',
    'JSON {',
    'JSON []',
    'JSON null',
    'JSON {"cpu_utilization":null,"rps_fractional":100}',
    'JSON {"cpu_utilization":{},"rps_fractional":100}',
    'JSON {"cpu_utilization":"NaN","rps_fractional":100}',
    'JSON {"__proto__":{"cpu_utilization":0.5},"rps_fractional":100}',
    'JSON {"cpu_utilization":0.9,"rps_fractional":100,"cpu_utilization":0.5}',
    'JSON {"cpu_utilization":0.5,"rps_fractional":100,"named_metrics":{"a":1,"a":2}}',
    'BIN ',
    'BIN !!!!',
    'BIN AAAA',
    'BIN CQAA',
    'BIN //////////////8=',
    `TEXT cpu_utilization=0.5,rps_fractional=100,x=${'1'.repeat(5_000)}`,
    `JSON {"cpu_utilization":0.5,"rps_fractional":100${' '.repeat(5_000)}}`,
    `JSON ${'['.repeat(4_000)}`,
  ])('that is wrong is none: %j', (text) => {
    expect(read(text)).toBeUndefined()
  })

  it('in two headers is none', () => {
    const text = 'TEXT cpu_utilization=0.5,rps_fractional=100'
    expect(readOrca([text, text], undefined, 7)).toBeUndefined()
    expect(readOrca(text, 'CQAAAAAAAOA/', 7)).toBeUndefined()
  })

  it('of any bytes neither throws nor yields what is no number', () => {
    const writer = new OrcaWriter()
    writer.utilization({ application: 0.5, cpu: 0.1, requestsPerSecond: 100, errorsPerSecond: 0 })
    const whole = Buffer.from(writer.binary(OURS)!, 'base64')
    const damaged = fc
      .array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 })
      .map((changes) => changes.reduce((bytes, [at, value]) => bytes.fill(value, at, at + 1), Buffer.from(whole)))
    const binary = fc
      .oneof(
        damaged,
        fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      )
      .map((bytes) => [undefined, bytes.toString('base64')] as const)
    const words = fc.constantFrom(
      ...['TEXT ', 'JSON ', 'BIN ', '=', ':', ',', '{', '}', '"', 'rps', 'cpu_utilization', 'named_metrics'],
      ...['.', 'inmesh.latency_ms', '1', '-1', '1e9', '0.5', 'NaN', ' ', '\\u0000'],
    )
    const text = fc.array(fc.oneof(words, fc.string({ maxLength: 4 })), { maxLength: 30 })
    const any = fc.oneof(
      binary,
      text.map((parts) => [parts.join(''), undefined] as const),
      fc.json().map((json) => [`JSON ${json}`, undefined] as const),
    )
    fc.assert(
      fc.property(any, ([plain, bin]) => {
        const report = readOrca(plain, bin, 7)
        if (report === undefined) return
        for (const value of Object.values(report)) expect(value).toBeGreaterThanOrEqual(0)
        expect(report.latencyMs > 0 || report.capacity! > 0).toBe(true)
        expect(Number.isFinite(report.capacity ?? 0)).toBe(true)
      }),
      { numRuns: 3_000 },
    )
  })
})
