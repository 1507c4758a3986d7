/** What the `INMESH_AUTO_*` variables say: what is meshed, and how. */
import { HOST } from '../discovery/instance-reader.ts'
import { either } from '../options/composed-fields.ts'
import { check, fields, flag, list, oneOf, optional, type Parsed, text, withDefault } from '../options/fields.ts'
import { serviceName } from '../options/names.ts'
import { integer } from '../options/quantities.ts'

const PORT = integer({ min: 1, max: 65_535 })

/** Keys are the variables, so that a mistake names its variable. */
const FIELDS = fields({
  INMESH_AUTO: withDefault(flag(), true),
  INMESH_AUTO_MODE: withDefault(oneOf(['permissive', 'strict']), 'permissive'),
  INMESH_AUTO_SERVICES: withDefault(
    either<'all', readonly string[]>(oneOf(['all']), list(serviceName(), { max: 1_000 })),
    Object.freeze([]),
  ),
  INMESH_AUTO_PORTS: optional(list(PORT, { min: 1, max: 100 })),
  INMESH_AUTO_WORKER_PORTS: optional(text("a range of ports such as '9100-9199'", /^\d{1,5}-\d{1,5}$/)),
  INMESH_AUTO_ADVERTISE: optional(text('an IP address or a host name', HOST)),
  INMESH_AUTO_REQUIRED: withDefault(flag(), false),
  INMESH_AUTO_REPORT: withDefault(flag(), false),
})

export interface AutoSettings {
  readonly on: boolean
  readonly mode: 'permissive' | 'strict'
  /** Hosts that are services besides `*.mesh`. */
  readonly services: readonly string[] | 'all'
  /** Ports that are the service's. `undefined`: the first one listened on. */
  readonly ports: readonly number[] | undefined
  /** Where a worker of a cluster has its own port. */
  readonly workerPorts: readonly [from: number, to: number] | undefined
  readonly advertise: string | undefined
  /** Servers listen only once the mesh is joined. */
  readonly required: boolean
  /** Whether what is meshed is printed. */
  readonly report: boolean
}

/** @throws OptionsError naming each wrong variable */
export function readSettings(env: NodeJS.ProcessEnv): AutoSettings {
  const given: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(env)) {
    const trimmed = value?.trim()
    if (/^INMESH_AUTO(?:_|$)/.test(name) && trimmed) given[name] = READERS[name]?.(trimmed) ?? trimmed
  }
  const read: Parsed<typeof FIELDS> = check(FIELDS, given as never, 'inmesh/auto')
  const strict = read.INMESH_AUTO_MODE === 'strict'
  return {
    on: read.INMESH_AUTO,
    mode: read.INMESH_AUTO_MODE as AutoSettings['mode'],
    services: read.INMESH_AUTO_SERVICES,
    ports: read.INMESH_AUTO_PORTS,
    workerPorts: read.INMESH_AUTO_WORKER_PORTS?.split('-').map(Number) as [number, number] | undefined,
    advertise: read.INMESH_AUTO_ADVERTISE,
    // Before it has joined, a server would take the plaintext that `strict` forbids.
    required: read.INMESH_AUTO_REQUIRED || strict,
    report: read.INMESH_AUTO_REPORT,
  }
}

const entries = (value: string): string[] => value.split(',').map((entry) => entry.trim())
const logical = (value: string): unknown => ({ true: true, 1: true, false: false, 0: false })[value] ?? value

const READERS: Readonly<Record<string, (value: string) => unknown>> = {
  INMESH_AUTO: logical,
  INMESH_AUTO_SERVICES: (value) => (value === 'all' ? value : entries(value)),
  INMESH_AUTO_PORTS: (value) => entries(value).map((port) => (/^\d+$/.test(port) ? Number(port) : port)),
  INMESH_AUTO_REQUIRED: logical,
  INMESH_AUTO_REPORT: logical,
}
