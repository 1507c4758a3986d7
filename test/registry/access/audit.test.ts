/**
 * What is done, and what is refused to those who are known, stays in the audit log whatever
 * strangers do.
 */
import { expect, test } from 'vitest'
import { Audit } from '../../../src/registry/access/audit.ts'
import { SILENT_LOG } from '../../../src/registry/log.ts'
import { AUDIT_KEPT, RegistryState } from '../../../src/registry/state.ts'
import { MemoryStorage } from '../../../src/registry/storage/memory.ts'
import { FakeClock } from '../../../src/testing/index.ts'

async function open() {
  const clock = new FakeClock()
  const state = await RegistryState.load(new MemoryStorage(), () => {})
  const audit = new Audit(state, clock, SILENT_LOG)
  const refuse = (who: string, source: string) =>
    audit.record({ who, source, action: 'DELETE /v1/policies/a', outcome: 'refused', reason: 'admin-required' })
  const done = (detail: string) =>
    audit.record({ who: 'admin', source: '10.0.0.1', action: 'token-create', outcome: 'done', detail })
  const settled = () => state.write([{ key: 'audit/~', value: undefined }])
  return { clock, state, audit, refuse, done, settled }
}

test('refusals of an identity are kept while strangers from many addresses are refused without end', async () => {
  const { state, audit, refuse, settled } = await open()
  for (let i = 0; i < 1_000; i++) refuse('anonymous', `10.0.${i % 250}.1`)
  for (let i = 0; i < 20; i++) refuse('spiffe://inmesh.local/service/checkout', '10.0.0.9')
  await settled()
  expect(state.audit.filter(({ who }) => who.endsWith('checkout'))).toHaveLength(20)
  expect(audit.suppressed).toBe(800)
})

test('a stranger does not hide what is refused to another stranger', async () => {
  const { state, refuse, settled } = await open()
  for (let i = 0; i < 1_000; i++) refuse('anonymous', '10.0.0.1')
  for (let i = 0; i < 1_000; i++) refuse('anonymous', `2001:db8::${i.toString(16)}`)
  refuse('anonymous', '10.0.0.2')
  await settled()
  expect(state.audit.some(({ source }) => source === '10.0.0.2')).toBe(true)
})

test('what was done is pushed out by what is done only', async () => {
  const { clock, state, refuse, done, settled } = await open()
  for (let i = 0; i < 100; i++) done(String(i))
  for (let i = 0; i < 300; i++) {
    for (let source = 0; source < 10; source++) refuse('anonymous', `10.0.${source}.1`)
    for (let service = 0; service < 10; service++) refuse(`spiffe://inmesh.local/service/s${service}`, '10.1.0.1')
    await settled()
    await clock.advance(1_000)
  }
  expect(state.audit.filter(({ outcome }) => outcome === 'done')).toHaveLength(100)
  expect(state.auditSize).toBeLessThanOrEqual(AUDIT_KEPT + 20)
  for (let i = 0; i < 2 * AUDIT_KEPT; i++) {
    done(`later ${i}`)
    if (i % 20 === 0) await settled()
  }
  expect(state.audit.some(({ detail }) => detail === '0')).toBe(false)
  expect(state.audit.some(({ who }) => who === 'anonymous')).toBe(true)
})

test('an operator who may only read pushes nothing out by logging in again and again', async () => {
  const { state, audit, done, settled } = await open()
  for (let i = 0; i < 100; i++) done(String(i))
  for (let i = 0; i < 2 * AUDIT_KEPT; i++) {
    audit.record({ who: 'operator:ann', source: '10.0.0.1', action: 'ui-login', outcome: 'done' })
    if (i % 20 === 0) await settled()
  }
  expect(state.audit.filter(({ action }) => action === 'token-create')).toHaveLength(100)
  expect(state.auditSize).toBeLessThanOrEqual(AUDIT_KEPT + 20)
})

test('no token is kept or logged, wherever the text of a refusal quotes it', async () => {
  const logged: unknown[] = []
  const log = { ...SILENT_LOG, warn: (...said: unknown[]) => logged.push(said) }
  const state = await RegistryState.load(new MemoryStorage(), () => {})
  const audit = new Audit(state, new FakeClock(), log)
  const jwt = `eyJhbGciOiJFUzI1NiJ9.${'eyJzdWIiOiJhIn0'}.c2lnbmF0dXJl`
  for (const token of ['inmesh-admin.c2VjcmV0.MTIzNDU2', 'inmesh-join.ZmluZ2Vy.cHJpbnQ', jwt, jwt.slice(0, 40)]) {
    const action = `DELETE /v1/operators/${token}`
    const refused = { who: 'admin', source: '10.0.0.1', action, outcome: 'refused', reason: 'invalid-request' } as const
    audit.record({ ...refused, detail: `the body has the key '${token}' twice in one object` })
    audit.record({ ...refused, detail: `${'x'.repeat(280)} ${token}` })
  }
  await state.write([{ key: 'audit/~', value: undefined }])
  const kept = JSON.stringify([state.audit, logged])
  expect(state.auditSize).toBe(8)
  expect(kept).not.toMatch(/c2Vj|MTIz|Zmlu|cHJp|eyJ/)
  expect(state.audit[0]).toMatchObject({
    action: 'DELETE /v1/operators/[redacted]',
    detail: "the body has the key '[redacted]' twice in one object",
  })
})
