import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { ErrorCode } from '../../../src/core/errors.ts'
import { GRPC_FAILURES, GRPC_STATUS, grpcStatusOf } from '../../../src/core/status.ts'
import { resolveServeGrpcOptions } from '../../../src/mesh/serve-options.ts'

function read(page: string): string {
  return readFileSync(new URL(`../../../docs/${page}`, import.meta.url), 'utf8')
}

/** The codes in each row of `page` that begins with the name of a status. */
function statuses(): [status: string, codes: string[]][] {
  const rows = [...read('grpc.md').matchAll(/^\| ([A-Z_]+) \| (`.*) \|$/gm)]
  return rows.map(([, status, codes]) => [status!, [...codes!.matchAll(/`([a-z-]+)`/g)].map(([, code]) => code!)])
}

describe('the page of gRPC', () => {
  it('says with which status each code ends', () => {
    expect(statuses().length).toBeGreaterThan(5)
    for (const [status, codes] of statuses()) {
      for (const code of codes) {
        expect(grpcStatusOf(code as ErrorCode), code).toBe(GRPC_STATUS[status as keyof typeof GRPC_STATUS])
      }
    }
  })

  it('leaves out no code that a call may end with', () => {
    const [, table] = read('errors.md').split('| `code` | meaning |')
    const known = [...table!.matchAll(/^\| (`.*?`) \|/gm)]
      .flatMap(([, codes]) => [...codes!.matchAll(/`([a-z-]+)`/g)].map(([, code]) => code!))
      // Before and beside calls.
      .filter((code) => !/^(?:registry|join|not-in-mesh)/.test(code))
    expect(known).toContain('queue-full')
    const documented = statuses().flatMap(([, codes]) => codes)
    expect(known.filter((code) => !documented.includes(code))).toEqual([])
  })

  it('says which statuses count as failures', () => {
    const [, names] = /^([A-Z_,\s]+ and\s[A-Z_]+)\scount\sagainst\sthe\sendpoint/m.exec(read('grpc.md'))!
    expect(
      names!
        .trim()
        .split(/,\s|\sand\s/)
        .toSorted(),
    ).toEqual([...GRPC_FAILURES].toSorted())
  })

  it.each(['headersTimeout', 'keepalive', 'streamGrace', 'rotationGrace', 'maxConnections'])(
    'names the option %s of mesh.serveGrpc, and so does the page of options',
    (option) => {
      expect(() => resolveServeGrpcOptions({ [option]: 'nonsense' } as never, false)).toThrow(option)
      for (const page of ['grpc.md', 'options.md']) expect(read(page)).toContain(`\`${option}\``)
    },
  )
})
