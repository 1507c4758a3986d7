/** Puts the parts of `inmesh/auto` into a process. */
import { syncBuiltinESMExports } from 'node:module'
import { keepAlive } from '../core/keep-alive.ts'
import { Agents } from './agents.ts'
import type { AutoHost } from './auto-host.ts'
import { Dispatchers } from './dispatchers.ts'
import { GrpcChannels } from './grpc-channels.ts'
import { GrpcServers } from './grpc-servers.ts'
import { HttpServers } from './http-servers.ts'
import { patchModules } from './loaded-modules.ts'
import { ProcessMesh } from './process-mesh.ts'
import { Report } from './report.ts'
import { ServiceHosts } from './service-hosts.ts'
import { readSettings } from './settings.ts'
import { TakenServers } from './taken-servers.ts'
import { followThreads } from './threads.ts'

/** How long the registry has to say whether it knows a service. */
const KNOWN_WITHIN_MS = 1_000

/** @throws OptionsError naming each wrong variable */
export function install(env: NodeJS.ProcessEnv): void {
  const settings = readSettings(env)
  if (!settings.on) return
  const report = new Report(settings.report)
  const mesh = new ProcessMesh(settings, report)
  const services = new ServiceHosts(settings.services, async (service) => {
    try {
      return (await (await keepAlive(mesh.join())).instancesOf(service, KNOWN_WITHIN_MS)).length > 0
    } catch {
      // Reported by the mesh; the host is taken for another one.
      return false
    }
  })
  const host: AutoHost = { settings, report, mesh, services }
  const servers = new TakenServers(mesh)
  const dispatchers = new Dispatchers(host)
  dispatchers.install()
  new Agents(host).install()
  new HttpServers(host, servers).install()
  const grpc = [new GrpcServers(host, servers), new GrpcChannels(host)]
  patchModules([dispatchers, ...grpc].flatMap(({ patches }) => patches))
  followThreads(servers)
  // Named imports of built-in modules are copies.
  syncBuiltinESMExports()
  // The application has nothing left to do: a last message tells the registry.
  process.once('beforeExit', () => void mesh.close())
}
