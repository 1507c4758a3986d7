/** `inmesh simulate`: what documents make of slow, failing and missing servers, without a mesh. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { RequestHead } from '../core/request-head.ts'
import { MESH_DOCUMENT } from '../discovery/mesh-document.ts'
import type { PolicyDocument } from '../discovery/policy-document.ts'
import { HTTP_METHODS } from '../net/http-methods.ts'
import { serviceName } from '../options/names.ts'
import { duration, integer, number } from '../options/quantities.ts'
import { capacityOf, LATENCY_SHAPES, type LatencyShape, type Scenario } from '../simulator/scenario.ts'
import { type CommonFlags, jsonOption } from './connection.ts'
import { withExample } from './examples.ts'
import { EXIT, Failure, invalidUsage } from './failure.ts'
import { collected, numeric, parsed, readHeader } from './flag-values.ts'
import { readPolicyFile } from './read-policy-file.ts'
import { type GivenFault, placeFaults, readFault } from './simulation/fault-flag.ts'
import { checkPictureFile, writePicture } from './simulation/picture-file.ts'
import { aboutScenario, reportLines } from './simulation/report.ts'
import { type CliContext, printable, Terminal } from './terminal.ts'

interface SimulateFlags extends CommonFlags {
  readonly file: string
  readonly service?: string
  readonly from: string
  readonly clients: number
  readonly servers: number
  readonly workers: number
  readonly mean: number
  readonly latency: LatencyShape
  readonly load?: number
  readonly rate?: number
  readonly duration: number
  readonly fault?: readonly GivenFault[]
  readonly zones: number
  readonly request: { readonly method: string; readonly path: string }
  readonly header?: Readonly<Record<string, string>>
  readonly reports: boolean
  readonly seed: number
  readonly svg?: string
}

const USUAL_LOAD = 60
/** As many take half a minute. */
const MOST_CALLS = 500_000
/** Clients times servers of all services. With the calls, it keeps a run below about 1 GB. */
const MOST_PAIRS = 10_000

export function addSimulateCommand(program: Command, surroundings: CliContext): void {
  const most = (max: number): ((text: string) => number) => parsed(integer({ min: 1, max }), numeric)
  const command = program
    .command('simulate')
    .description('Run documents through the real policies on simulated servers and time: latency and failed calls.')
    .requiredOption('-f, --file <file>', "YAML or JSON, one or more documents; '-' reads standard input")
    .option('--service <name>', 'the service that is called (default: the only one in the file)', parsed(serviceName()))
    .option('--clients <n>', 'processes that call it', most(1_000), 10)
    .option('--servers <n>', 'instances of each service', most(1_000), 20)
    .option('--workers <n>', 'requests that a server works on at once', most(1_000), 4)
    .addOption(
      new Option('--mean <duration>', 'what a request takes')
        .argParser(parsed(duration({ min: 1, max: 60_000 })))
        .default(40, '40ms'),
    )
    .addOption(
      new Option('--latency <shape>', 'how that spreads').choices(Object.keys(LATENCY_SHAPES)).default('exponential'),
    )
    .option('--load <percent>', 'of capacity (default: 60)', parsed(number({ min: 1, max: 1_000 }), numeric))
    .option('--rate <n>', 'calls per second, instead of --load', parsed(number({ min: 0.1, max: 1e6 }), numeric))
    .addOption(
      new Option('--duration <duration>', 'of simulated time')
        .argParser(parsed(duration({ min: 1_000, max: 3_600_000 })))
        .default(30_000, '30s'),
    )
    .option(
      '--fault <fault>',
      "such as 'slow=1' or 'fail=2:30%@6s-21s'; slow, fail, refuse, stall, outage; may be repeated",
      collected((text: string, before: readonly GivenFault[] = []) => [...before, readFault(text)]),
    )
    .option('--zones <n>', 'zones of clients and servers', most(20), 1)
    .addOption(
      new Option('--request <request>', 'method and path of every call')
        .argParser(readRequest)
        .default({ method: 'GET', path: '/' }, "'GET /'"),
    )
    .option('-H, --header <header>', 'a header of every call; may be repeated', collected(readHeader))
    .option('--from <service>', 'the calling service', parsed(serviceName()), 'simulate')
    .option('--no-reports', 'servers do not report their load')
    .option('--seed <n>', 'other luck', parsed(integer({ min: 0, max: 2 ** 32 - 1 }), numeric), 1)
    .option('--svg <file>', "draw p50, p99 and failed calls over time; '-' draws to stdout, instead of the tables")
    .addOption(jsonOption())
  withExample(
    command,
    'inmesh simulate -f policies.yaml --servers 20 --fault slow=1 --svg slow.svg',
    'inmesh simulate -f policies.yaml --load 80 --fault fail=2:30%@10s-20s --fault outage@25s-27s',
  )
  command.action(async (flags: SimulateFlags) => {
    const terminal = new Terminal(surroundings, flags.json === true)
    const { documents } = await readPolicyFile(flags.file, surroundings.stdin)
    const { documentsOf } = await import('./convert-documents.ts')
    const scenario = scenarioOf(flags, documentsOf(documents))
    const toStdout = flags.svg === '-'
    if (toStdout && flags.json === true) throw invalidUsage('--svg - excludes --json: both write to stdout')
    if (flags.svg !== undefined && !toStdout) checkPictureFile(flags.svg)
    // Only this command needs the classes of clients and servers.
    const { notSimulated, picture, reachedServices, simulate } = await import('../simulator/index.ts')
    const reached = new Set(reachedServices(scenario.documents, scenario.service).keys())
    checkSize(scenario, reached.size)
    const left = notSimulated(scenario, reached)
    for (const { service, path, reason } of left) {
      terminal.note(printable(`not simulated: ${path === '' ? service : `${path} of ${service}`}: ${reason}`))
    }
    const simulation = within(() => simulate(scenario))
    const about = aboutScenario(scenario, capacityOf(scenario))
    if (toStdout) {
      surroundings.stdout.write(picture(scenario, simulation, about))
      return
    }
    if (flags.svg !== undefined) writePicture(flags.svg, picture(scenario, simulation, about))
    const { documents: _, request, ...setup } = scenario
    terminal.result({ scenario: setup, ...simulation, notSimulated: left, svg: flags.svg }, () =>
      reportLines(scenario, simulation, about),
    )
  })
}

function scenarioOf(flags: SimulateFlags, documents: readonly PolicyDocument[]): Scenario {
  const { load, rate, mean, duration: durationMs, fault = [], header = {}, request, ...rest } = flags
  if (load !== undefined && rate !== undefined) throw invalidUsage('--rate excludes --load; give one of the two')
  const { clients, servers, workers, zones, from, latency, reports, seed } = rest
  const capacity = capacityOf({ servers, workers, meanMs: mean })
  return {
    ...{ documents, clients, servers, workers, zones, from, latency, reports, seed, durationMs, meanMs: mean },
    service: calledService(flags.service, documents),
    perSecond: rate ?? (capacity * (load ?? USUAL_LOAD)) / 100,
    faults: placeFaults(fault, servers, durationMs),
    request: { ...request, header: (name) => (Object.hasOwn(header, name) ? header[name] : undefined) } as RequestHead,
  }
}

function calledService(given: string | undefined, documents: readonly PolicyDocument[]): string {
  const services = documents.map(({ service }) => service).filter((service) => service !== MESH_DOCUMENT)
  if (given === MESH_DOCUMENT) throw invalidUsage(`--service: '${MESH_DOCUMENT}' holds the defaults and is no service`)
  // The document of `mesh` holds for a service without one.
  if (given !== undefined && (services.includes(given) || services.length < documents.length)) return given
  const list = services.join(', ')
  if (given !== undefined) throw invalidUsage(`--service: '${given}' is not in the file; it has ${list}`)
  if (services.length === 1) return services[0]!
  throw invalidUsage(
    services.length === 0
      ? `the file has the document of '${MESH_DOCUMENT}' only; name the service with --service`
      : `the file has ${services.length} services: name one with --service: ${list}`,
  )
}

function checkSize({ perSecond, durationMs, clients, servers }: Scenario, services: number): void {
  const calls = Math.round((perSecond * durationMs) / 1_000)
  if (calls > MOST_CALLS) {
    const most = Math.floor((MOST_CALLS * 1_000) / durationMs)
    throw invalidUsage(
      `${calls} calls are more than ${MOST_CALLS}: in this --duration at most --rate ${most}; ` +
        'fewer --servers or --workers, or a longer --mean, lower the rate, too',
    )
  }
  if (clients * servers * services > MOST_PAIRS) {
    const size = `${clients} clients times ${servers} servers of ${services} ${services === 1 ? 'service' : 'services'}`
    throw invalidUsage(`--clients, --servers: ${size} are more than ${MOST_PAIRS}`)
  }
}

function within<T>(run: () => T): T {
  try {
    return run()
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new Failure(EXIT.failed, 'too-large', `the retries make ${error.message}; lower --rate or --duration`)
  }
}

function readRequest(text: string): { readonly method: string; readonly path: string } {
  const [, method = '', path = ''] = /^([A-Za-z]+) (\/\S*)$/.exec(text) ?? []
  const upper = method.toUpperCase()
  if (path === '' || !(HTTP_METHODS as readonly string[]).includes(upper)) {
    throw new InvalidArgumentError("Expected a method and a path, such as 'GET /items/42'.")
  }
  return { method: upper, path }
}
