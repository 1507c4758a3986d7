/**
 * CPU time from /proc: the wrong field, or a process with an odd name, would make every figure of
 * `npm run compare` wrong.
 */
import { describe, expect, it } from 'vitest'
import { cpuSeconds, parseResidentKb, parseRunNanoseconds, parseStat, ticksOfTree } from '../../bench/compare/proc.ts'

/** Fields as in proc(5): 14 utime, 15 stime, 16 cutime, 17 cstime. */
const LINE =
  '4711 (node) S 42 4711 4711 0 -1 4194304 900 10 0 0 150 50 7 3 20 0 11 0 1234 1000000 2500 18446744073709551615'

describe('compare: /proc/<pid>/stat', () => {
  it('gives user and system time, those of ended children apart', () => {
    expect(parseStat(LINE)).toEqual({ pid: 4711, parent: 42, own: 200, ofEnded: 10 })
  })

  it.each(['tmux: server', 'a) S 1 (b', '((sd-pam))'])('is not misled by a process that is called "%s"', (name) => {
    expect(parseStat(LINE.replace('node', name))).toEqual({ pid: 4711, parent: 42, own: 200, ofEnded: 10 })
  })

  it('is refused if it is something else', () => {
    expect(() => parseStat('')).toThrow(/not a line of/)
    expect(() => parseStat('4711 (node) S')).toThrow(/not a line of/)
  })

  it('sums a process, its descendants, and what their ended children used', () => {
    const stat = (pid: number, parent: number, own: number, ofEnded = 0) => ({ pid, parent, own, ofEnded })
    const stats = [stat(10, 1, 100, 5), stat(11, 10, 20), stat(12, 11, 3, 1), stat(13, 1, 1_000)]
    expect(ticksOfTree(10, stats)).toBe(129)
    expect(ticksOfTree(13, stats)).toBe(1_000)
    expect(ticksOfTree(99, stats)).toBe(0)
  })

  it('knows resident memory from the status of a process, and none of a process that is gone', () => {
    expect(parseResidentKb('Name:\tnode\nVmHWM:\t  99999 kB\nVmRSS:\t   51234 kB\nRssAnon:\t 1 kB\n')).toBe(51_234)
    expect(parseResidentKb('')).toBe(0)
  })

  it('reads the nanoseconds of a thread, and none of one that is gone', () => {
    expect(parseRunNanoseconds('196411070 720734882 618\n')).toBe(196_411_070)
    expect(parseRunNanoseconds('')).toBe(0)
  })

  it.runIf(process.platform === 'linux')('agrees with what this process knows of itself', () => {
    const { user, system } = process.cpuUsage()
    const [measured] = cpuSeconds([process.pid])
    // Threads that have ended are in ticks of 10 ms alone, one of each kind of time.
    expect(measured).toBeGreaterThan((user + system) / 1e6 - 0.05)
    expect(cpuSeconds([2 ** 22 + 1])).toEqual([0])
  })
})
