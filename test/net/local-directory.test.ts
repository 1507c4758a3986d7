import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { LocalDirectory } from '../../src/net/local-directory.ts'

const clean: (() => void)[] = []

afterEach(() => {
  for (const one of clean.splice(0).reverse()) one()
})

function place(): string {
  const path = mkdtempSync(join(tmpdir(), 'in'))
  clean.push(() => rmSync(path, { recursive: true, force: true }))
  return path
}

const inside = (within: string): string => join(within, `inmesh-${process.getuid!()}`)

async function listen(path: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => server.listen({ path }, resolve))
  clean.push(() => server.close())
  return server
}

describe('the directory of Unix sockets', () => {
  it('is of its user alone, and the same for every process that opens it', () => {
    const within = place()
    const directory = LocalDirectory.open(within)!
    expect(statSync(inside(within)).mode & 0o777).toBe(0o700)
    expect(LocalDirectory.open(within)!.machine).toBe(directory.machine)
    expect(LocalDirectory.open(place())!.machine).not.toBe(directory.machine)
  })

  it('is not used if others may enter it, or if it is a link', () => {
    const open = place()
    mkdirSync(inside(open))
    chmodSync(inside(open), 0o755)
    expect(LocalDirectory.open(open)).toBeUndefined()
    const linked = place()
    symlinkSync(place(), inside(linked))
    expect(LocalDirectory.open(linked)).toBeUndefined()
    expect(LocalDirectory.open('/proc/none')).toBeUndefined()
  })

  it('finds the socket of a peer by its name, and nothing else', async () => {
    const within = place()
    const directory = LocalDirectory.open(within)!
    const { path, address } = directory.newSocket()!
    expect(directory.find(address)).toBeUndefined()
    await listen(path)
    expect(directory.find(address)).toBe(path)
    expect(directory.find({ ...address, machine: 'another-machine' })).toBeUndefined()
    expect(directory.find({ ...address, socket: '../../etc/passwd' })).toBeUndefined()
    writeFileSync(join(inside(within), 'plainfile.sock'), '')
    expect(directory.find({ ...address, socket: 'plainfile' })).toBeUndefined()
    symlinkSync(path, join(inside(within), 'linkedsocket.sock'))
    expect(directory.find({ ...address, socket: 'linkedsocket' })).toBeUndefined()
  })

  it('is left alone once it is another one, or open to others', async () => {
    const within = place()
    const directory = LocalDirectory.open(within)!
    const { path, address } = directory.newSocket()!
    await listen(path)
    chmodSync(inside(within), 0o711)
    expect(directory.find(address)).toBeUndefined()
    expect(directory.newSocket()).toBeUndefined()
    chmodSync(inside(within), 0o700)
    renameSync(inside(within), join(within, 'moved'))
    mkdirSync(inside(within), { mode: 0o700 })
    expect(directory.newSocket()).toBeUndefined()
  })

  it('has no sockets whose path is too long for the system', () => {
    const within = join(place(), 'x'.repeat(90))
    mkdirSync(within)
    expect(LocalDirectory.open(within)?.newSocket()).toBeUndefined()
  })

  it('is swept of sockets on which nothing listens, and of nothing else', async () => {
    const within = place()
    const directory = LocalDirectory.open(within)!
    const [dead, alive] = [directory.newSocket()!, directory.newSocket()!]
    const server = await listen(join(within, 'dead.sock'))
    // Renamed, so that the close of its server leaves it behind, as a killed process does.
    renameSync(join(within, 'dead.sock'), dead.path)
    await new Promise((resolve) => server.close(resolve))
    await listen(alive.path)
    writeFileSync(join(inside(within), 'notes.sock'), 'mine')
    await directory.sweep()
    expect(existsSync(dead.path)).toBe(false)
    expect(existsSync(alive.path)).toBe(true)
    expect(existsSync(join(inside(within), 'notes.sock'))).toBe(true)
  })
})
