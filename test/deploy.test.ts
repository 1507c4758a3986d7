/** The files of examples/deploy, started as another user on a read-only root. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { resolveMeshOptions } from '../src/mesh/resolve-options.ts'

const ROOT = new URL('..', import.meta.url).pathname
const DEPLOY = join(ROOT, 'examples/deploy')
const USER = 65_532
/** Also whether mounts can be made, which containers may forbid. */
const canConfine =
  process.getuid?.() === 0 && spawnSync('unshare', ['-m', 'setpriv', '--version'], { stdio: 'ignore' }).status === 0

interface Container {
  readonly args?: readonly string[]
  readonly env?: readonly { readonly name: string; readonly value: string }[]
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[]
  readonly livenessProbe: { readonly httpGet: { readonly path: string; readonly port: string } }
  readonly readinessProbe: { readonly httpGet: { readonly path: string; readonly port: string } }
}
interface Workload {
  readonly kind: string
  readonly spec: { readonly template: { readonly spec: { readonly containers: readonly Container[] } } }
}

function containerOf(file: string): Container {
  const documents = parseAllDocuments(readFileSync(join(DEPLOY, 'kubernetes', file), 'utf8'))
  expect(documents.flatMap(({ errors }) => errors)).toEqual([])
  const workload = documents.map((one) => one.toJS() as Workload).find(({ kind }) => kind !== 'Service')!
  return workload.spec.template.spec.containers[0]!
}

const registry = containerOf('registry.yaml')
const checkout = containerOf('checkout.yaml')
const variables = Object.fromEntries(checkout.env!.map(({ name, value }) => [name, value]))

describe('the manifests', () => {
  it('name options that there are, and probes on ports that are open', () => {
    expect(resolveMeshOptions({}, variables)).toMatchObject({
      service: 'checkout',
      stateDir: '/state/inmesh',
      joinTokenFile: '/etc/inmesh/token',
      admin: { host: '0.0.0.0', port: 9_901 },
    })
    for (const { ports, livenessProbe, readinessProbe } of [registry, checkout]) {
      const names = ports.map(({ name }) => name)
      for (const { httpGet } of [livenessProbe, readinessProbe]) expect(names).toContain(httpGet.port)
    }
    expect(checkout.ports).toContainEqual({ name: 'admin', containerPort: 9_901 })
  })
})

describe.skipIf(!canConfine)(
  'as another user on a read-only root (needs root, and mounts)',
  { timeout: 180_000 },
  () => {
    const children: ChildProcess[] = []
    let data: string

    beforeAll(() => {
      data = mkdtempSync(join(tmpdir(), 'inmesh-deploy-'))
      // As a volume with fsGroup: root's, and open to the group.
      chmodSync(data, 0o777)
      return () => rmSync(data, { recursive: true, force: true })
    })

    afterAll(async () => {
      for (const child of children) {
        child.kill('SIGKILL')
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      }
    })

    /** Resolves with the first line of its output. */
    function confined(command: readonly string[], env: Record<string, string>): Promise<string> {
      const script = `mount --bind ${data} ${data} && mount -o remount,ro,bind / && exec setpriv --reuid ${USER} --regid ${USER} --clear-groups --no-new-privs "$@"`
      const child = spawn('unshare', ['-m', 'sh', '-ec', script, 'sh', ...command], {
        env: { PATH: process.env.PATH!, HOME: '/', ...env },
        cwd: '/',
      })
      children.push(child)
      return new Promise((resolve, reject) => {
        let printed = ''
        child.stderr.on('data', (part) => {
          printed += part
        })
        child.stdout.on('data', (part) => {
          printed += part
          const line = /^\{.*\}$/m.exec(printed)?.[0]
          if (line !== undefined) resolve(line)
        })
        child.once('exit', () => reject(new Error(printed)))
      })
    }

    function probe(port: number, path: string): Promise<number | undefined> {
      return new Promise((resolve, reject) => {
        get({ host: '127.0.0.1', port, path, rejectUnauthorized: false, agent: false }, (response) => {
          response.resume()
          resolve(response.statusCode)
        }).on('error', reject)
      })
    }

    it('the registry of the StatefulSet runs, and the service beside it joins, serves its probes and drains', async () => {
      const args = registry.args!.map((each) => (each === '7400' ? '0' : each.replace('/data/', `${data}/`)))
      const cli = join(ROOT, 'dist/cli/main.js')
      const ready = JSON.parse(await confined([process.execPath, cli, ...args, '--json', '--log-level', 'silent'], {}))
      const port = Number(new URL(ready.url).port)
      for (const { httpGet } of [registry.livenessProbe, registry.readinessProbe]) {
        expect([httpGet.path, await probe(port, httpGet.path)]).toEqual([httpGet.path, 200])
      }

      const at = `https://127.0.0.1:${port}`
      const made = execFileSync(
        process.execPath,
        [
          cli,
          'token',
          'create',
          '--service',
          'checkout',
          '--registry',
          at,
          '--data-dir',
          join(data, 'inmesh'),
          '--json',
        ],
        { encoding: 'utf8' },
      )
      const { token } = JSON.parse(made) as { token: string }
      mkdirSync(join(data, 'secret'), { mode: 0o755 })
      writeFileSync(join(data, 'secret', 'token'), token, { mode: 0o444 })
      writeFileSync(
        join(data, 'server.mjs'),
        `import { joinMesh } from '${new URL('../dist/index.js', import.meta.url).href}'
       const mesh = await joinMesh()
       await mesh.serve((_request, response) => response.end('ok'))
       console.log(JSON.stringify({ admin: mesh.adminPort }))`,
      )
      const { admin } = JSON.parse(
        await confined([process.execPath, join(data, 'server.mjs')], {
          ...variables,
          INMESH_REGISTRY: at,
          INMESH_JOIN_TOKEN_FILE: join(data, 'secret', 'token'),
          INMESH_STATE_DIR: join(data, 'state', 'inmesh'),
          INMESH_ADMIN_PORT: '0',
        }),
      )
      const status = async (path: string) => (await fetch(`http://127.0.0.1:${admin}${path}`)).status
      expect(await status(checkout.livenessProbe.httpGet.path)).toBe(200)
      expect(await status(checkout.readinessProbe.httpGet.path)).toBe(200)
      // Loopback is not in the list of the manifest.
      expect(await status('/metrics')).toBe(403)
      const service = children.at(-1)!
      const exited = once(service, 'exit')
      service.kill('SIGTERM')
      await expect.poll(() => status('/readyz').catch(() => 503)).toBe(503)
      expect(await exited).toEqual([0, null])
    })
  },
)

const canVerify = spawnSync('systemd-analyze', ['--version'], { stdio: 'ignore' }).status === 0
it.skipIf(!canVerify)('the unit is one that systemd takes (needs systemd-analyze)', () => {
  const { stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', join(DEPLOY, 'checkout.service')], {
    encoding: 'utf8',
  })
  // Other units of this machine, and a program that is not installed here, are none of our concern.
  const ours = stderr
    .split('\n')
    .filter((line) => line.includes('checkout.service') && !/not executable|Failed to/.test(line))
  expect(ours).toEqual([])
})
