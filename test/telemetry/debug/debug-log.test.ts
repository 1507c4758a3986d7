import { channel } from 'node:diagnostics_channel'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { resolveMeshOptions } from '../../../src/mesh/resolve-options.ts'
import { DEBUG_AREAS, type DebugSettings, debugSettings } from '../../../src/telemetry/debug/areas.ts'
import { DebugLog } from '../../../src/telemetry/debug/debug-log.ts'
import { EVENT_NAMES } from '../../../src/telemetry/events.ts'
import { startTestMesh, type TestMesh } from '../../../src/testing/index.ts'

describe('INMESH_DEBUG', () => {
  it('names areas, or all of them, in text or JSON', () => {
    expect(debugSettings({})).toBeUndefined()
    expect(debugSettings({ INMESH_DEBUG: ' ' })).toBeUndefined()
    expect(debugSettings({ INMESH_DEBUG: 'retry, Breaker' })).toEqual({ areas: ['retry', 'breaker'], format: 'text' })
    const all = debugSettings({ INMESH_DEBUG: '*', INMESH_DEBUG_FORMAT: 'json' })
    expect(all).toEqual({ areas: Object.keys(DEBUG_AREAS), format: 'json' })
  })

  it('refuses another one, and says which there are', () => {
    const start = (env: Record<string, string>) => () => resolveMeshOptions({ service: 'checkout' }, env)
    expect(start({ INMESH_DEBUG: 'retries' })).toThrow(
      /INMESH_DEBUG: expected areas by commas, or '\*' for all: discovery, balancing, retry, .*; got "retries"/,
    )
    expect(start({ INMESH_DEBUG: 'retry', INMESH_DEBUG_FORMAT: 'xml' })).toThrow(/INMESH_DEBUG_FORMAT: .*text, json/)
  })

  it('has an area for every event', () => {
    const shown = Object.values(DEBUG_AREAS).flat()
    expect(shown).toEqual(expect.arrayContaining([...EVENT_NAMES]))
  })
})

describe('a log', () => {
  let mesh: TestMesh
  beforeAll(async () => {
    mesh = await startTestMesh()
  })
  afterAll(() => mesh.close())

  function logged(settings: DebugSettings, writableLength = 0) {
    const lines: string[] = []
    const output = { writableLength, write: (line: string) => lines.push(...line.trimEnd().split('\n')), on: () => {} }
    return { log: new DebugLog(settings, output), lines, output }
  }

  it('shows the attempts of a call that is tried again, and its choice of endpoints', async () => {
    const inventory = await mesh.serve('inventory', (_request, response) => response.end('7'))
    const checkout = await mesh.join('checkout')
    const retries = logged({ areas: ['retry'], format: 'text' })
    const picks = logged({ areas: ['balancing', 'calls'], format: 'json' })
    inventory.faults.set({ status: 503, times: 1 })
    expect((await checkout.fetch('http://inventory/items/42')).status).toBe(200)
    const ended = (by: string) => picks.lines.map((line) => JSON.parse(line)).find(({ side }) => side === by)
    await expect.poll(() => ended('server')).toMatchObject({ service: 'inventory', peer: 'checkout' })
    await expect.poll(() => ended('client')).toMatchObject({ service: 'checkout', peer: 'inventory' })
    retries.log.close()
    picks.log.close()
    expect(retries.lines).toHaveLength(2)
    expect(retries.lines[0]).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3} inmesh checkout retry attempt:ended peer=inventory .*attempt=1 .*code=overloaded status=503 .*retryInMs=/,
    )
    expect(retries.lines[1]).toContain('attempt=2')
    const events = picks.lines.map((line) => JSON.parse(line))
    const ours = events.filter(({ service }) => service === 'checkout')
    expect(ours.map(({ area, event }) => `${area} ${event}`)).toEqual([
      ...['balancing attempt:started', 'balancing attempt:started', 'calls call:ended'],
    ])
    expect(ours[2]).toMatchObject({ peer: 'inventory', path: '/items/42', status: 200, attempts: 2, side: 'client' })
    expect((await checkout.fetch('http://inventory/')).status).toBe(200)
    expect(retries.lines).toHaveLength(2)
  })

  it('prints no control characters, and leaves out what a slow reader does not take', () => {
    const { log, lines, output } = logged({ areas: ['auth'], format: 'text' })
    const denied = channel('inmesh:intention:denied')
    const message = { service: 'a', at: 0, peer: 'x\u001b[31m', method: 'GET', path: '/' }
    output.writableLength = 2 * 1024 * 1024
    denied.publish(message)
    output.writableLength = 0
    denied.publish(message)
    log.close()
    expect(lines[0]).toMatch(/^00:00:00\.000 inmesh a auth intention:denied peer=\S*31m method=GET path=\/$/)
    expect(lines[0]).not.toContain('\u001b')
    expect(lines[1]).toBe('inmesh: 1 lines were left out, stderr is slow')
  })
})
