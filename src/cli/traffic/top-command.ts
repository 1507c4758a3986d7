/** `inmesh top`: a live table of the calls between services. */
import type { Command } from 'commander'
import type { Graph } from '../../registry/traffic/graph.ts'
import { connect } from '../connection.ts'
import { withExample } from '../examples.ts'
import { asFailure, EXIT, invalidUsage } from '../failure.ts'
import { RegistryRefusal } from '../registry-api.ts'
import { untilSignal } from '../signals.ts'
import { type CliContext, Terminal } from '../terminal.ts'
import { askTraffic, windowOf, withWindow } from './ask.ts'
import { columnNamed, EDGE_COLUMNS, EDGE_STATES, sorted, tableOf } from './columns.ts'
import { gapsOf } from './coverage-text.ts'
import { edgeRecords, type SortFlags, sortOption } from './edges-command.ts'
import { Screen } from './screen.ts'
import { afterKey, pictureOf, type TopState } from './top-view.ts'

/** As often as processes report. */
const EVERY_MS = 5_000

interface TopFlags extends SortFlags {
  readonly once?: boolean
}

type AskGraph = (signal?: AbortSignal) => Promise<Graph>

export function addTopCommand(program: Command, surroundings: CliContext): void {
  const command = withWindow(
    program
      .command('top')
      .description('Watch which services call which: a live table; keys sort it, q ends it.')
      .addOption(sortOption('rate'))
      .option('--once', 'print the table once; for what is no terminal'),
  )
  withExample(command, 'inmesh top', 'inmesh top --sort p99 --once', 'inmesh top --json')
  command.action(async (flags: TopFlags) => {
    const isLive = flags.once !== true
    if (isLive && flags.json !== true && !isScreen(surroundings)) {
      const wanted = 'give --once for one table, or --json for a line of each edge'
      throw invalidUsage(`the output is no terminal that draws; ${wanted}`)
    }
    const { api, terminal } = await connect(surroundings, flags)
    const ask: AskGraph = (signal) => askTraffic(api, 'graph', windowOf(flags), signal)
    // A registry that refuses is an error, and no empty screen.
    const first = await ask()
    if (!isLive) print(first, flags, terminal)
    else if (terminal.json) await follow(first, ask, flags, surroundings)
    else await show(first, ask, flags, surroundings)
  })
}

function isScreen({ stdout, env }: CliContext): boolean {
  return stdout.isTTY === true && env.TERM !== 'dumb'
}

function print(graph: Graph, flags: TopFlags, terminal: Terminal): void {
  const edges = sorted(graph.edges, columnNamed(flags.sort))
  terminal.records(edgeRecords(graph, edges), () =>
    edges.length === 0 ? ['no calls'] : tableOf([...EDGE_COLUMNS, ...EDGE_STATES], edges),
  )
  for (const gap of gapsOf(graph, flags.window)) terminal.note(gap)
}

/** Until a signal, or until the reader is gone. */
async function follow(first: Graph, ask: AskGraph, flags: TopFlags, { stdout, ...rest }: CliContext): Promise<void> {
  const stop = new AbortController()
  const end = (): void => stop.abort()
  const signal = untilSignal()
  void signal.signal.then(end)
  stdout.on?.('error', end)
  const terminal = new Terminal({ ...rest, stdout }, true)
  try {
    print(first, flags, terminal)
    await every(stop.signal, ask, (graph, problem) => {
      if (graph !== undefined) print(graph, flags, terminal)
      else terminal.records([{ type: 'problem', message: problem }], () => [])
    })
  } finally {
    stdout.off?.('error', end)
    signal.forget()
  }
}

/** Until `q`, Ctrl-C or a signal. */
async function show(first: Graph, ask: AskGraph, flags: TopFlags, surroundings: CliContext): Promise<void> {
  const stop = new AbortController()
  const signal = untilSignal()
  void signal.signal.then(() => stop.abort())
  const sort = columnNamed(flags.sort)
  let state: TopState = { graph: first, windowMs: flags.window, sort, isReversed: false, offset: 0, problem: undefined }
  const terminal = new Terminal(surroundings, false)
  const draw = (): void =>
    screen.draw(pictureOf(state, screen, (colour, line) => (line === '' ? line : terminal.paint(colour, line))))
  const screen = new Screen(surroundings, {
    key(key) {
      if (key === 'q' || key === 'ctrl-c') stop.abort()
      state = afterKey(state, key, screen) ?? state
      draw()
    },
    resized: draw,
  })
  try {
    draw()
    await every(stop.signal, ask, (graph, problem) => {
      state = { ...state, problem, ...(graph !== undefined && { graph }) }
      draw()
    })
  } finally {
    screen.close()
    signal.forget()
  }
}

/**
 * @throws Failure if the registry refuses; one that does not answer is asked again, and so is a
 *   proxy before it
 */
async function every(
  stop: AbortSignal,
  ask: AskGraph,
  answered: (graph: Graph | undefined, problem: string | undefined) => void,
): Promise<void> {
  while (await pause(stop)) {
    try {
      const graph = await ask(stop)
      if (!stop.aborted) answered(graph, undefined)
    } catch (error) {
      if (stop.aborted) return
      if (!isPassing(error)) throw error
      answered(undefined, asFailure(error).message)
    }
  }
}

function isPassing(error: unknown): boolean {
  if (error instanceof RegistryRefusal) return error.status === 429 || error.status >= 500
  const { exitCode, code } = asFailure(error)
  return exitCode === EXIT.unreachable || code === 'unexpected-answer'
}

/** False: stopped. */
function pause(stop: AbortSignal): Promise<boolean> {
  if (stop.aborted) return Promise.resolve(false)
  return new Promise((resolve) => {
    const finish = (): void => {
      clearTimeout(timer)
      stop.removeEventListener('abort', finish)
      resolve(!stop.aborted)
    }
    const timer = setTimeout(finish, EVERY_MS)
    stop.addEventListener('abort', finish)
  })
}
