/** The disk below an embedded store is full, and has room again. */
import { execFileSync } from 'node:child_process'
import { chmodSync, closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { faultTests } from './fault-tests.ts'

const disk = mkdtempSync(join(tmpdir(), 'inmesh-disk-'))
const missing = mount()

function mount(): string | undefined {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=0700', 'inmesh-test', disk], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'a disk of 4 MB needs the right to mount one'
  }
}

afterAll(() => {
  if (missing === undefined) execFileSync('umount', ['-l', disk])
  rmSync(disk, { recursive: true, force: true })
})

const filler = join(disk, 'filler')

/** To the last byte. */
function fill(): void {
  const file = openSync(filler, 'w')
  try {
    for (let size = 65_536; size > 0; ) {
      try {
        writeSync(file, Buffer.alloc(size))
      } catch {
        size >>= 1
      }
    }
  } finally {
    closeSync(file)
  }
}

const options = { registries: 1, etcd: undefined, disk, missing }

faultTests('a registry with an embedded store', options, {
  'a full disk refuses writes with 503, and costs nothing else': async (plane) => {
    chmodSync(disk, 0o700)
    fill()
    await plane.refusesWrites(plane.registries[0]!)
    for (const name of plane.fleet.servers.keys()) await plane.fleet.answers(name)
    rmSync(filler)
    await plane.goesOn()
  },
})
