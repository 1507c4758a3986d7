/**
 * Compares the cost of calls with and without reports of load, client and server together. `node
 * bench/load-reports.ts [--quick] [--json] [--transport auto|http1]`, after `npm run build`.
 */
import {
  COMPILED_CALLS,
  type Figure,
  figure,
  type Measured,
  measure,
  type Options,
  type Pair,
  type Plan,
  type Report,
  ratio,
  round,
  runQuestions,
  type Variant,
  withSubjects,
} from './harness.ts'
import { startClient } from './http-client.ts'
import { startRegistryProcess, startServer } from './testbed.ts'

const WITH = 'with reports'
const WITHOUT = 'without'
const MODES = ['strict', 'plaintext'] as const
type Mode = (typeof MODES)[number]

/** The answers of one turn fill a record of TLS at 15 to 17. */
const AT_ONCE = [1, 4, 8, 12, 13, 14, 15, 16, 17, 18, 20, 24, 32, 64]
const AT_ONCE_QUICK = [1, 8, 14, 16, 18, 64]
const TWINS = 2
/** Of the mean over all numbers of calls at once. */
const AT_MOST = 1.03

export async function loadReports({ quick, transport }: Options): Promise<Report> {
  return withSubjects(async (keep) => {
    const registry = keep(await startRegistryProcess({ dev: true }))
    const { url } = registry.ready
    const start = async (service: string, mode: Mode): Promise<Pair> => {
      const doors = [{ kind: 'mesh', service, mode }] as const
      const subject = keep(await startServer({ registry: url, transport, doors, switchable: true }))
      const driver = keep(await startClient({ way: 'inmesh http()', ports: [], registry: url, service, transport }))
      return { subject, driver }
    }
    const rows: Report['rows'][number][] = []
    const means = new Map<Mode, Figure>()
    for (const mode of MODES) {
      const twins: Pair[] = []
      while (twins.length < TWINS) twins.push(await start(`inventory-${mode}-${twins.length}`, mode))
      const variants = [variant(WITHOUT, twins, false), variant(WITH, twins, true)]
      const ratios: Figure[] = []
      for (const [i, concurrency] of (quick ? AT_ONCE_QUICK : AT_ONCE).entries()) {
        const plan: Plan = {
          calls: concurrency === 1 ? 1_000 : 2_000,
          rounds: quick ? 16 : 40,
          warmUp: i === 0 ? COMPILED_CALLS : 2_000,
          concurrency,
        }
        const measured = await measure(variants, plan)
        ratios.push(ratio(measured, WITH, WITHOUT, 'bothUs'))
        rows.push(rowOf(mode, concurrency, measured))
      }
      means.set(mode, meanOf(ratios))
    }
    return {
      title: `What reports of load add to a call, client and server together (${transport})`,
      rows,
      targets: [...means].map(([mode, found]) => ({
        what: `with reports over without, ${mode}, mean over calls at once`,
        found,
        wanted: { atMost: AT_MOST },
      })),
      figures: {
        ratios: Object.fromEntries([...means].map(([mode, { median }]) => [`loadReports ${mode}`, median])),
      },
    }
  })
}

/**
 * The same processes for both variants, because two that run the same differ by more than what is
 * looked for.
 */
function variant(name: string, twins: readonly Pair[], on: boolean): Variant {
  return { name, twins: twins.map((twin) => ({ ...twin, prepare: () => twin.subject.ask('report', on) })) }
}

function rowOf(mode: Mode, concurrency: number, measured: Measured): Report['rows'][number] {
  const { median, low, high } = ratio(measured, WITH, WITHOUT, 'bothUs')
  return {
    mode,
    'at once': concurrency,
    'without, µs/call': round(figure(measured.get(WITHOUT)!.bothUs).median, 1),
    'with, µs/call': round(figure(measured.get(WITH)!.bothUs).median, 1),
    'with over without': round(median, 3),
    'half within': `${round(low, 3)} to ${round(high, 3)}`,
    'server alone': round(ratio(measured, WITH, WITHOUT).median, 3),
    'client alone': round(clientAlone(measured).median, 3),
  }
}

function clientAlone(measured: Measured): Figure {
  const of = (name: string): number[] => {
    const { cpuUs, bothUs } = measured.get(name)!
    return bothUs.map((both, i) => both - cpuUs[i]!)
  }
  const without = of(WITHOUT)
  return figure(of(WITH).map((us, i) => us / without[i]!))
}

function meanOf(figures: readonly Figure[]): Figure {
  const mean = (of: keyof Figure): number => figures.reduce((sum, each) => sum + each[of], 0) / figures.length
  return { median: mean('median'), low: mean('low'), high: mean('high') }
}

if (import.meta.main) await runQuestions([loadReports])
