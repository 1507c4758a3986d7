/**
 * Reads CPU time and memory of processes from /proc. It includes the kernel's work for their
 * sockets, and threads and children that have ended.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

export interface ProcessStat {
  readonly pid: number
  readonly parent: number
  /** User and system time, in clock ticks. */
  readonly own: number
  /** The same of children that have ended and were waited for. */
  readonly ofEnded: number
}

/**
 * One line of /proc/<pid>/stat (proc(5)). The name, in parentheses, may hold blanks and parentheses
 * itself.
 */
export function parseStat(line: string): ProcessStat {
  const open = line.indexOf('(')
  const close = line.lastIndexOf(')')
  const rest = line.slice(close + 2).split(' ')
  // Field 3, the state, is rest[0]: field n is rest[n - 3].
  const field = (n: number): number => Number(rest[n - 3])
  const stat = {
    pid: Number(line.slice(0, open)),
    parent: field(4),
    own: field(14) + field(15),
    ofEnded: field(16) + field(17),
  }
  if (open < 1 || close < open || Object.values(stat).some(Number.isNaN)) {
    throw new Error(`not a line of /proc/<pid>/stat: ${line.slice(0, 120)}`)
  }
  return stat
}

/** Ticks of `root`, of all that descend from it, and of their children that have ended. */
export function ticksOfTree(root: number, stats: readonly ProcessStat[]): number {
  const children = Map.groupBy(stats, ({ parent }) => parent)
  const seen = stats.find(({ pid }) => pid === root)
  if (seen === undefined) return 0
  let ticks = 0
  const open = [seen]
  for (let stat = open.pop(); stat !== undefined; stat = open.pop()) {
    ticks += stat.own + stat.ofEnded
    open.push(...(children.get(stat.pid) ?? []))
  }
  return ticks
}

/** Resident memory in kB from the text of /proc/<pid>/status; 0 for a process that is no more. */
export function parseResidentKb(status: string): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0)
}

let ticksPerSecond: number | undefined

/**
 * CPU seconds so far of each process, its descendants included. The kernel's nanoseconds count
 * where they say more than its ticks, which alone have threads that have ended.
 */
export function cpuSeconds(pids: readonly number[]): number[] {
  ticksPerSecond ??= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
  const stats = list('/proc').flatMap((pid) => {
    const line = read(`/proc/${pid}/stat`)
    if (line === '') return []
    const stat = parseStat(line)
    return [{ ...stat, own: Math.max(stat.own, (nanosecondsOf(pid) / 1e9) * ticksPerSecond!) }]
  })
  return pids.map((pid) => ticksOfTree(pid, stats) / ticksPerSecond!)
}

/** Of the threads of a process; 0 where the kernel does not count them (CONFIG_SCHED_INFO). */
function nanosecondsOf(pid: string): number {
  const threads = list(`/proc/${pid}/task`)
  return threads.reduce((sum, id) => sum + parseRunNanoseconds(read(`/proc/${pid}/task/${id}/schedstat`)), 0)
}

/** From the text of /proc/<pid>/task/<tid>/schedstat; 0 for a thread that is no more. */
export function parseRunNanoseconds(schedstat: string): number {
  return Number(/^(\d+) \d+ \d+$/m.exec(schedstat)?.[1] ?? 0)
}

/** The numbers among the names in a folder; none if it is no more. */
function list(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => /^\d+$/.test(name))
  } catch {
    return []
  }
}

export function residentMb(pid: number): number {
  return parseResidentKb(read(`/proc/${pid}/status`)) / 1024
}

/** Empty if the process has ended meanwhile. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
