/** `inmesh proxy`: a port on loopback for browsers and curl, through the mesh as a developer. */
import type { Command } from 'commander'
import { integer } from '../../options/quantities.ts'
import { type DeveloperFlags, joinAsDeveloper, withDeveloper } from '../developer.ts'
import { withExample } from '../examples.ts'
import { invalidUsage } from '../failure.ts'
import { numeric, parsed } from '../flag-values.ts'
import { untilSignal } from '../signals.ts'
import type { CliContext } from '../terminal.ts'
import { ProxyServer } from './proxy-server.ts'

const DEFAULT_PORT = 7_480

interface ProxyFlags extends DeveloperFlags {
  readonly port: number
}

export function addProxyCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('proxy')
    .description('Open a port of 127.0.0.1 whose requests go through the mesh, for browsers and curl in development.')
    .option(
      '--port <n>',
      `to listen on; 0 = any free one (default ${DEFAULT_PORT})`,
      parsed(integer({ min: 0, max: 65_535 }), numeric),
      DEFAULT_PORT,
    )
  withDeveloper(command)
  withExample(
    command,
    'inmesh proxy',
    'curl http://inventory.localhost:7480/items/42',
    'curl -x http://127.0.0.1:7480 http://inventory/items/42',
  )
  command.action((flags: ProxyFlags) => runProxy(flags, surroundings))
}

async function runProxy(flags: ProxyFlags, surroundings: CliContext): Promise<void> {
  const { mesh, terminal, service } = await joinAsDeveloper(surroundings, flags)
  const stopped = untilSignal()
  const proxy = new ProxyServer(mesh)
  try {
    await listen(proxy, flags.port)
    const url = `http://127.0.0.1:${proxy.port}`
    terminal.result({ ready: true, url, port: proxy.port, as: service }, () => [
      `inmesh proxy is ready at ${url}, as '${service}':`,
      `  http://<service>.localhost:${proxy.port}/`,
      `  curl -x ${url} http://<service>/`,
    ])
    await stopped.signal
  } finally {
    stopped.forget()
    await proxy.close()
    await mesh.close()
  }
}

async function listen(proxy: ProxyServer, port: number): Promise<void> {
  try {
    await proxy.listen(port)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    throw invalidUsage(`port ${port} of 127.0.0.1 is taken; give another --port, such as --port 0`)
  }
}
