/** `inmesh top` on a terminal: keys, sizes, and a terminal that is as it was at the end. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runCli } from '../../../src/cli/program.ts'
import { FakeTerminal } from '../../rigs/fake-terminal.ts'
import { TrafficMesh, withCalls } from './rig.ts'

let mesh: TrafficMesh
beforeEach(async () => {
  mesh = await new TrafficMesh().start()
  await withCalls(mesh)
})
afterEach(() => mesh.close())

describe('inmesh top', () => {
  it('shows a table, sorts it by keys and turns it round, and leaves the terminal as it was', async () => {
    const terminal = new FakeTerminal(mesh.env)
    const code = runCli(['top'], terminal.context)
    await expect.poll(() => terminal.lines[2]).toMatch(/CALLS\/Sv/)
    expect(terminal.isRaw).toBe(true)
    expect(terminal.lines[0]).toMatch(/^inmesh top .* 2 of 2 processes heard$/)
    expect(terminal.lines.slice(3, 5).map((line) => line.split(' ')[0])).toEqual(['checkout', 'cart'])
    terminal.press('9')
    expect(terminal.lines[2]).toContain('P99 MSv')
    expect(terminal.lines[3]).toMatch(/^cart /)
    terminal.press('r')
    expect(terminal.lines[2]).toContain('P99 MS^')
    expect(terminal.lines[3]).toMatch(/^checkout /)
    terminal.press('\u001b[D')
    expect(terminal.lines[2]).toContain('P90 MSv')
    terminal.press('z\u001b[15~')
    expect(terminal.lines[2]).toContain('P90 MSv')
    terminal.press('q')
    expect(await code).toBe(0)
    expect(terminal.isRestored).toBe(true)
  })

  it('fits the terminal, also after its size has changed, and scrolls', async () => {
    const terminal = new FakeTerminal(mesh.env, { columns: 40, rows: 5 })
    const code = runCli(['top', '--sort', 'from'], terminal.context)
    await expect.poll(() => terminal.lines.length).toBe(5)
    expect(Math.max(...terminal.lines.map((line) => line.length))).toBeLessThanOrEqual(40)
    expect(terminal.lines[3]).toMatch(/^cart /)
    terminal.press('\u001b[B')
    expect(terminal.lines[3]).toMatch(/^checkout /)
    terminal.resize({ columns: 200, rows: 30 })
    expect(terminal.lines[4]).toMatch(/^checkout .*ok$/)
    terminal.press('\u0003')
    expect(await code).toBe(0)
    expect(terminal.isRestored).toBe(true)
  })

  it('shows the columns that fit, always the one that sorts, and how it ends', async () => {
    const terminal = new FakeTerminal(mesh.env, { columns: 40, rows: 10 })
    const code = runCli(['top', '--sort', 'from'], terminal.context)
    await expect.poll(() => terminal.lines[2]).toBe('FROM^     TO         CALLS/S  SUCCESS %')
    expect(terminal.lines.slice(3, 5)).toEqual([
      expect.stringMatching(/^cart {6}inventory +0\.17 +100$/),
      expect.stringMatching(/^checkout {2}inventory +1\.67 +95\.0$/),
    ])
    expect(terminal.lines[5]).toMatch(/^q quit /)
    terminal.press('y')
    expect(terminal.lines[2]).toMatch(/^FROM +TO +CALLS\/S +RETRIESv$/)
    terminal.resize({ columns: 200, rows: 10 })
    expect(terminal.lines[2]).toMatch(/ RETRIESv +GAP % +TLS +STATE$/)
    expect(terminal.lines[5]).toMatch(/^q quit .* g gap$/)
    terminal.resize({ columns: 1, rows: 1 })
    expect(terminal.lines).toEqual(['i'])
    terminal.press('q')
    expect(await code).toBe(0)
  })

  it('draws nothing anew while nothing changes', async () => {
    const terminal = new FakeTerminal(mesh.env)
    const code = runCli(['top'], terminal.context)
    await expect.poll(() => terminal.lines.length).toBeGreaterThan(3)
    const { written } = terminal
    terminal.press('z')
    terminal.press('c')
    expect(terminal.written).toBe(written)
    terminal.press('q')
    await code
  })

  it('keeps the last figures while the registry does not answer, and says so', async () => {
    const terminal = new FakeTerminal(mesh.env)
    const code = runCli(['top'], terminal.context)
    await expect.poll(() => terminal.lines.length).toBeGreaterThan(3)
    await mesh.registry.close()
    await expect.poll(() => terminal.lines[1], { timeout: 20_000 }).toMatch(/^not renewed: no answer from the registry/)
    expect(terminal.lines[3]).toMatch(/^checkout /)
    terminal.press('q')
    expect(await code).toBe(0)
  })

  it('ends when the registry refuses it, with one line after the terminal is restored', async () => {
    const made = await mesh.command(['token', 'operator', 'create', 'ann', '--read-only', '--json'])
    const { token, id } = JSON.parse(made.stdout)
    const terminal = new FakeTerminal({ ...mesh.env, INMESH_ADMIN_TOKEN: token })
    const code = runCli(['top'], terminal.context)
    await expect.poll(() => terminal.lines.length).toBeGreaterThan(3)
    expect(await mesh.command(['token', 'operator', 'revoke', id])).toMatchObject({ code: 0 })
    expect(await code).toBe(1)
    expect(terminal.isRestored).toBe(true)
    // On a busy machine it waited for the first answer, and said so.
    expect(terminal.errors).toMatch(/^(?:waiting for .*\n)?error: the admin token is not one of this registry.*\n$/)
  })

  it('needs a terminal, --once or --json', async () => {
    const piped = await mesh.command(['top'])
    expect(piped).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/^error: .*--once.*--json.*\n$/) })
    expect(await mesh.command(['top'], { terminal: true, env: { TERM: 'dumb' } })).toMatchObject({
      code: 2,
      stdout: '',
    })
    const once = await mesh.command(['top', '--once', '--sort', 'p99'])
    expect([once.code, once.stdout.split('\n')[1]]).toEqual([0, expect.stringMatching(/^cart /)])
    expect((await mesh.command(['top', '--once', '--json'])).stdout.trim().split('\n')).toHaveLength(3)
  })

  it('follows with --json until its reader is gone', async () => {
    const terminal = new FakeTerminal(mesh.env)
    const code = runCli(['top', '--json'], terminal.context)
    await expect.poll(() => terminal.text.split('\n').length).toBeGreaterThan(3)
    expect(JSON.parse(terminal.text.split('\n')[0]!)).toMatchObject({ type: 'window' })
    terminal.breakPipe()
    expect(await code).toBe(0)
  })

  it.runIf(existsSync('/usr/bin/script')).each([
    ['q', 'q'],
    ['Ctrl-C', '\u0003'],
  ])('ends with %s on a terminal of the system', async (_name, key) => {
    const command = `stty rows 20 cols 90; "${process.execPath}" src/cli/main.ts top; echo "ended with $?"; stty -a`
    const child = spawn('/usr/bin/script', ['-qec', command, '/dev/null'], { env: { ...process.env, ...mesh.env } })
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => {
      const isFirst = !text.includes('checkout')
      text += chunk
      if (isFirst && text.includes('checkout')) child.stdin.write(key)
    })
    await new Promise((resolve) => child.once('close', resolve))
    expect(text).toContain('ended with 0')
    expect(text).toContain('\u001b[?1049h')
    expect(text.slice(text.lastIndexOf('\u001b[?1049h'))).toContain('\u001b[?25h\u001b[?1049l')
    expect(text).toMatch(/ icanon .*| isig icanon/)
  })
})
