import { reasonOf } from '../../core/errors.ts'
import { VERSION } from '../../core/version.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import type { MeshSettings } from '../../mesh/options.ts'
import { type ConnectionFlags, connect, findUrls } from '../connection.ts'
import { EXIT, Failure, invalidUsage } from '../failure.ts'
import { meshSettings } from '../mesh-settings.ts'
import { REQUEST_TIMEOUT_MS, type RegistryApi } from '../registry-api.ts'
import { type CliContext, Terminal } from '../terminal.ts'
import { dependenciesOf } from './dependencies.ts'
import { type Finding, findingLines } from './finding.ts'
import { copyOfState, type FoundIdentity, findIdentity, knownToken } from './identity-checks.ts'
import { checkDependency, checkRegistration, type Dependency } from './mesh-checks.ts'
import { checkRegistry } from './registry-checks.ts'

export interface DoctorFlags extends ConnectionFlags {
  readonly service?: string
  readonly to?: readonly Dependency[]
  readonly join?: boolean
}

export async function runDoctor(flags: DoctorFlags, surroundings: CliContext): Promise<void> {
  const terminal = new Terminal(surroundings, flags.json === true)
  const registry = findUrls(surroundings.env, flags).map(({ origin }) => origin)
  const given = { registry, ...(flags.service !== undefined && { service: flags.service }) }
  if (flags.service === undefined && !surroundings.env.INMESH_SERVICE) {
    throw invalidUsage('whose workload is it? Give --service checkout, or set INMESH_SERVICE')
  }
  const settings = await meshSettings(given, surroundings.env)
  const identity = await findIdentity(settings)
  const findings: Finding[] = [...identity.findings]
  const registries = await Promise.all(registry.map((url) => checkRegistry(url, identity.pin)))
  findings.push(...registries.flatMap((one) => one.findings))
  const answers = registries.some((one) => one.answers)
  const api = answers
    ? await operator(
        flags,
        surroundings,
        registry.filter((_, i) => registries[i]!.answers),
      )
    : undefined
  const theirs = await registryVersion(api)
  if (answers) findings.push(...(await asMember(settings, identity, flags, api)))
  const versions = { inmesh: VERSION, node: process.versions.node, ...(theirs !== undefined && { registry: theirs }) }
  findings.push(versionFinding(versions))
  const failed = findings.filter(({ state }) => state === 'failed').length
  const { service } = settings
  terminal.result({ ok: failed === 0, service, versions, findings }, () => findingLines(findings, terminal))
  if (!answers) throw new Failure(EXIT.unreachable, 'registry-unreachable', 'no registry answers')
  if (failed > 0) throw new Failure(EXIT.failed, 'unhealthy', `${failed} ${failed === 1 ? 'check' : 'checks'} failed`)
}

/** `undefined`: there is no operator's right, which a workload does not need. */
async function operator(
  flags: DoctorFlags,
  surroundings: CliContext,
  registry: readonly string[],
): Promise<RegistryApi | undefined> {
  try {
    const { api } = await connect(surroundings, { ...flags, registry: registry.join(',') })
    await api.get('/v1/registry')
    return api
  } catch (error) {
    // A token that is given and wrong is a mistake of the command.
    if (flags.token !== undefined) throw error
    return undefined
  }
}

async function registryVersion(api: RegistryApi | undefined): Promise<string | undefined> {
  if (api === undefined) return undefined
  const { version } = await api.get<{ version?: unknown }>('/v1/registry')
  return typeof version === 'string' ? version : undefined
}

function versionFinding({ inmesh, node, registry }: { inmesh: string; node: string; registry?: string }): Finding {
  const known =
    registry === undefined ? 'that of the registry is not known without an operator' : `registry ${registry}`
  const message = `inmesh ${inmesh} on Node ${node}; ${known}`
  if (registry === undefined || registry === inmesh) return { check: 'versions', state: 'ok', message }
  return { check: 'versions', state: 'warning', message, todo: 'upgrade registries first, then the processes' }
}

/** What can be seen only from within. */
async function asMember(
  settings: MeshSettings,
  identity: FoundIdentity,
  flags: DoctorFlags,
  api: RegistryApi | undefined,
): Promise<readonly Finding[]> {
  const check = 'membership'
  const findings: Finding[] = []
  const token = await tokenOf(settings, api, findings)
  const copy = identity.stored === undefined ? undefined : await copyOfState(settings.stateDir)
  if (copy === undefined && identity.hasToken && token === undefined && flags.join !== true) {
    const todo = 'give --join, which takes one use of the join token, or INMESH_ADMIN_TOKEN of an operator'
    return [...findings, { check, state: 'skipped', message: 'there is no certificate to join with', todo }]
  }
  let mesh: Mesh | undefined
  try {
    const { startMesh } = await import('../../mesh/open-mesh.ts')
    const { joinToken, joinTokenFile } = settings
    mesh = await startMesh({
      ...settings,
      stateDir: copy?.path ?? 'memory',
      joinToken: token ?? joinToken,
      joinTokenFile: token === undefined ? joinTokenFile : undefined,
      joinTimeoutMs: REQUEST_TIMEOUT_MS,
      ...{ handleSignals: false, adminPort: undefined, accessLog: undefined, traffic: false, tap: false },
      ...{ startWithoutRegistry: false, drainNoticeMs: 0, drainTimeoutMs: 1_000 },
    })
    findings.push({ check, state: 'ok', message: `joined as ${mesh.spiffeId}` })
    findings.push(await checkRegistration(mesh))
    const dependencies = flags.to ?? (await dependenciesOf(api, settings.service, findings))
    for (const dependency of dependencies) findings.push(...(await checkDependency(mesh, dependency)))
  } catch (error) {
    const todo = `make a token: \`inmesh token create --service ${settings.service}\`, as INMESH_JOIN_TOKEN`
    findings.push({ check, state: 'failed', message: reasonOf(error), todo })
  } finally {
    await mesh?.close()
    await copy?.remove()
  }
  return findings
}

/** Made by an operator's right for this check. What the list says of the given one is a finding. */
async function tokenOf(
  settings: MeshSettings,
  api: RegistryApi | undefined,
  findings: Finding[],
): Promise<string | undefined> {
  if (api === undefined) return undefined
  const { service, joinToken } = settings
  try {
    if (typeof joinToken === 'string') {
      const { tokens } = await api.get<{ tokens: Parameters<typeof knownToken>[1] }>('/v1/tokens')
      const found = knownToken(joinToken, tokens, service)
      if (found !== undefined) findings.push(found)
    }
    return (await api.call<{ token: string }>('POST', '/v1/tokens', { service, ttlMs: 60_000, uses: 1 })).token
  } catch {
    // An operator who may only look.
    return undefined
  }
}
