/** `inmesh dev`: a registry for development, its page, and a small mesh to call. */
import type { Command } from 'commander'
import { OptionsError } from '../../options/fields.ts'
import { integer } from '../../options/quantities.ts'
import type { Registry } from '../../registry/index.ts'
import { type CommonFlags, jsonOption } from '../connection.ts'
import { withExample } from '../examples.ts'
import { invalidUsage } from '../failure.ts'
import { numeric, parsed } from '../flag-values.ts'
import { untilSignal } from '../signals.ts'
import { type CliContext, Terminal } from '../terminal.ts'
import type { ExampleMesh } from './example-mesh.ts'

const PORT = integer({ min: 0, max: 65_535 })
const DEFAULT_PORT = 7_400

interface DevFlags extends CommonFlags {
  readonly port: number
  readonly ui: number
  /** False with `--no-example`. */
  readonly example: boolean
}

export function addDevCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('dev')
    .description('Run a mesh for development until Ctrl-C: a registry in memory, its page, and services to call.')
    .option(
      '--port <n>',
      `of the registry on 127.0.0.1; 0 = any free one (default ${DEFAULT_PORT})`,
      parsed(PORT, numeric),
      DEFAULT_PORT,
    )
    .option('--ui <port>', 'of the page in plain text; 0 = any free one (default 0)', parsed(PORT, numeric), 0)
    .option('--no-example', 'without the services to call')
    .addOption(jsonOption())
  withExample(command, 'inmesh dev', 'inmesh dev --port 7500 --no-example')
  command.action((flags: DevFlags) => runDev(flags, surroundings))
}

async function runDev({ port, ui, example, json }: DevFlags, surroundings: CliContext): Promise<void> {
  const terminal = new Terminal(surroundings, json === true)
  const stopped = untilSignal()
  const { EXAMPLE_SERVICES, ExampleMesh } = await import('./example-mesh.ts')
  let registry: Registry | undefined
  let mesh: ExampleMesh | undefined
  try {
    registry = await start(port, ui)
    mesh = example ? new ExampleMesh(registry.url) : undefined
    // Ctrl-C ends the start as well.
    await Promise.race([mesh?.start(), stopped.signal])
    const { url, uiUrl } = registry
    const services = example ? EXAMPLE_SERVICES : []
    const tries = commands(registry, example)
    terminal.result({ ready: true, url, uiUrl, services, try: tries }, () => [
      `registry  ${url}  (development: no tokens, everybody on this machine may do everything)`,
      `page      ${uiUrl}  (needs no token)`,
      ...(example ? ['services  web -> checkout -> inventory (v1, v2), prices; 5 requests per second'] : []),
      '',
      'Try in another terminal:',
      ...tries.map((one) => `  ${one}`),
      '',
      'Ctrl-C ends everything; nothing is kept.',
    ])
    await stopped.signal
  } finally {
    stopped.forget()
    await mesh?.close()
    await registry?.close()
  }
}

async function start(port: number, uiPort: number): Promise<Registry> {
  const { startRegistry } = await import('../../registry/index.ts')
  try {
    return await startRegistry({ port, uiPort, dev: true, memory: true, log: false, joinsPerSecond: 100 })
  } catch (error) {
    const [issue] = error instanceof OptionsError ? error.issues : []
    if (issue === undefined || !/in use/.test(issue.message)) throw error
    const [flag, taken, hint] =
      issue.path[0] === 'uiPort'
        ? ['--ui', uiPort, 'another program listens there']
        : ['--port', port, 'is another registry or `inmesh dev` running? `inmesh status` asks it']
    throw invalidUsage(`port ${taken} of 127.0.0.1 is taken: ${hint}; or give another ${flag}, such as ${flag} 0`)
  }
}

function commands({ url }: Registry, example: boolean): readonly string[] {
  const isDefault = url.endsWith(`:${DEFAULT_PORT}`)
  const inmesh = isDefault ? 'npx inmesh' : `INMESH_REGISTRY=${url} npx inmesh`
  if (!example) return [`${inmesh} services`, `${inmesh} call http://your-service/`]
  return [
    `${inmesh} call http://inventory/items/42`,
    `${inmesh} call http://checkout/orders/42 -v`,
    `${inmesh} top`,
    `${inmesh} explain GET http://inventory/items/42`,
  ]
}
