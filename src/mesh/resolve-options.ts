/** Options of `joinMesh` from code and from `INMESH_*` variables, validated before a start. */
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { check, OptionsError, type Parsed } from '../options/fields.ts'
import { renameFormer } from '../options/former-names.ts'
import { type AdminOptions, type AdminSettings, resolveAdmin } from '../telemetry/admin-access.ts'
import { debugSettings } from '../telemetry/debug/areas.ts'
import { fromEnvironment, namingVariables, warnOfStrangers } from './environment.ts'
import { assertObject, optionsGiven } from './given-options.ts'
import { FORMER_NAMES, MESH_FIELDS, type MeshOptions, type MeshSettings } from './options.ts'

/** Options win over variables. @throws OptionsError naming each wrong field */
export function resolveMeshOptions(options: MeshOptions = {}, env: NodeJS.ProcessEnv = process.env): MeshSettings {
  assertObject(options, 'joinMesh')
  const fromCode = renameFormer(optionsGiven(options, MESH_FIELDS.shape), FORMER_NAMES, 'joinMesh')
  warnOfStrangers(env, Object.keys(MESH_FIELDS.shape))
  const { joinToken, joinTokenFile, ...others } = fromEnvironment(env)
  // One of them in code stands for both.
  const tokenInCode = Object.hasOwn(fromCode, 'joinToken') || Object.hasOwn(fromCode, 'joinTokenFile')
  const fromEnv = optionsGiven(tokenInCode ? others : { joinToken, joinTokenFile, ...others })
  let given: Parsed<typeof MESH_FIELDS>
  try {
    given = check(MESH_FIELDS, { ...fromEnv, ...fromCode }, 'joinMesh')
  } catch (error) {
    throw namingVariables(
      error,
      fromCode.service === undefined && fromEnv.service === undefined,
      Object.keys(fromEnv).filter((option) => !Object.hasOwn(fromCode, option)),
    )
  }
  if (given.joinToken !== undefined && given.joinTokenFile !== undefined) {
    const message = "is not taken beside 'joinToken'; give one of the two"
    throw new OptionsError('joinMesh', [{ path: ['joinTokenFile'], message }])
  }
  return Object.freeze({
    service: given.service,
    registry: Object.freeze([given.registry].flat().map((address) => address.replace(/\/$/, ''))),
    joinToken: given.joinToken,
    joinTokenFile: given.joinTokenFile,
    stateDir: given.stateDir ?? join(stateHome(env), 'inmesh', given.service),
    stateDirGiven: given.stateDir !== undefined,
    zone: given.zone,
    version: given.version,
    weight: given.weight,
    metadata: given.metadata,
    joinTimeoutMs: given.joinTimeout,
    startWithoutRegistry: given.startWithoutRegistry,
    transport: given.transport,
    sameHost: given.sameHost,
    traffic: given.traffic,
    tap: given.tap,
    admin: adminOf(fromEnv, fromCode),
    accessLog: given.accessLog,
    handleSignals: given.handleSignals,
    drainNoticeMs: given.drainNotice,
    drainTimeoutMs: given.drainTimeout,
    clock: given.clock,
    debug: debugSettings(env),
  })
}

/** Checked already. Options win over variables, field by field; `adminPort` is `admin.port`. */
function adminOf(fromEnv: MeshOptions, fromCode: MeshOptions): AdminSettings | undefined {
  if (fromCode.adminPort !== undefined && fromCode.admin !== undefined) {
    throw new OptionsError('joinMesh', [
      { path: ['adminPort'], message: "is not taken beside 'admin'; give admin.port" },
    ])
  }
  const given = { ...portOf(fromEnv), ...fromEnv.admin, ...portOf(fromCode), ...fromCode.admin }
  return Object.keys(given).length === 0 && fromCode.admin === undefined ? undefined : resolveAdmin(given)
}

function portOf({ adminPort: port }: MeshOptions): AdminOptions {
  return port === undefined ? {} : { port }
}

function stateHome(env: NodeJS.ProcessEnv): string {
  const { XDG_STATE_HOME: given } = env
  // A relative one is to be ignored (XDG Base Directory Specification).
  return given !== undefined && isAbsolute(given) ? given : join(home(), '.local', 'state')
}

/** A user without an entry in `/etc/passwd`, as in containers, may have none. */
function home(): string {
  try {
    return homedir()
  } catch {
    return '/'
  }
}
