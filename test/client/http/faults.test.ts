import { describe, expect, it } from 'vitest'
import { deadPort } from '../../rigs/dead-port.ts'
import { always, type Script, type ScriptedConnection } from '../../rigs/scripted-server.ts'
import { failure, opened, rigOver, serve } from './opened.ts'
import { makeRig, until } from './rig.ts'

function afterRequest(act: (connection: ScriptedConnection) => void): Script {
  return async (connection) => {
    await connection.request()
    act(connection)
  }
}

describe('a connection that cannot be made', () => {
  it('sends even a POST elsewhere, because nothing was sent', async () => {
    const good = await serve(always(200, 'ok'))
    const rig = await rigOver([await deadPort(), good.port])
    for (let i = 0; i < 6; i++) {
      const res = await rig.http.post('/orders', 'x')
      expect(await res.text()).toBe('ok')
    }
    expect(
      rig.attempts.outcomes.filter((o) => o.code === 'connect-failed' && o.verdict === 'refused').length,
    ).toBeGreaterThan(0)
    expect(rig.attempts.outcomes.every((o) => o.verdict === 'success' || o.code === 'connect-failed')).toBe(true)
  })

  it('fails with all attempts and sent: false when nobody answers', async () => {
    const rig = await rigOver([await deadPort()], { retry: { attempts: 2 } })
    const error = await failure(rig.http.post('/orders', 'x'))
    expect(error.code).toBe('connect-failed')
    expect(error.sent).toBe(false)
    expect(error.attempts.length).toBeGreaterThan(1)
    expect(error.message).toContain("POST to 'inventory' at 127.0.0.1:")
    expect(rig.attempts.outcomes.length).toBe(rig.attempts.admitted)
    expect(rig.endpoint.pending).toBe(0)
  })

  it('is given up after the connect timeout', async () => {
    // A server with a full backlog cannot be had portably; an address that swallows packets can
    // (RFC 5737).
    const rig = await makeRig([], { connections: { connectTimeout: 50 }, retry: { attempts: 1 } })
    opened(rig)
    const { endpoint } = await import('./rig.ts')
    rig.cluster.add(endpoint(9, { address: '192.0.2.1' }))
    const error = await failure(rig.http.get('/'))
    expect(error.code).toBe('connect-failed')
    expect(error.sent).toBe(false)
  })
})

describe('a connection that is lost', () => {
  it.each<[string, Script]>([
    [
      'closes after reading',
      afterRequest((c) => {
        c.end()
      }),
    ],
    [
      'resets after reading',
      afterRequest((c) => {
        c.reset()
      }),
    ],
    [
      'answers half a head',
      afterRequest((c) => {
        c.write('HTTP/1.1 200 OK\r\ncontent-le')
        c.end()
      }),
    ],
    [
      'answers half a body',
      afterRequest((c) => {
        c.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf')
        c.end()
      }),
    ],
    [
      'resets within a body',
      afterRequest((c) => {
        c.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf')
        setTimeout(() => c.reset(), 20)
      }),
    ],
  ])('a GET goes elsewhere when the peer %s', async (_, script) => {
    const bad = await serve(script)
    const good = await serve(always(200, 'ok'))
    const rig = await rigOver([bad.port, good.port])
    for (let i = 0; i < 4; i++) expect(await (await rig.http.get('/')).text()).toBe('ok')
    expect(bad.connections).toBeGreaterThan(0)
    expect(rig.attempts.outcomes.some((o) => o.verdict === 'failure' && o.code === 'connection-lost')).toBe(true)
  })

  it('never repeats a POST that may have been executed, and says sent: true', async () => {
    let executed = 0
    const script: Script = async (c) => {
      await c.request()
      executed += 1
      c.reset()
    }
    const [one, two] = [await serve(script), await serve(script)]
    const rig = await rigOver([one.port, two.port])
    const error = await failure(rig.http.post('/orders', 'x'))
    expect(error.code).toBe('connection-lost')
    expect(error.sent).toBe(true)
    expect(executed).toBe(1)
  })

  it('repeats a POST that is declared idempotent, or carries an idempotency key', async () => {
    const bad = await serve(
      afterRequest((c) => {
        c.reset()
      }),
    )
    const good = await serve(always(200, 'ok'))
    for (const options of [{ idempotent: true }, { headers: { 'Idempotency-Key': '7' } }]) {
      const rig = await rigOver([bad.port, good.port])
      expect((await rig.http.post('/orders', 'x', options)).status).toBe(200)
      expect(rig.attempts.admitted).toBe(2)
    }
  })

  it('garbage is a protocol error', async () => {
    const bad = await serve(
      afterRequest((c) => {
        c.write('SSH-2.0-nonsense\r\n\r\n')
      }),
    )
    const rig = await rigOver([bad.port], { retry: { attempts: 1 } })
    const error = await failure(rig.http.get('/'))
    expect(error.code).toBe('protocol-error')
    expect(error.sent).toBe(true)
  })

  it('an endpoint that announces the close of each connection loses no POST', async () => {
    const server = await serve(async (c) => {
      await c.request()
      c.answer(200, 'ok', { connection: 'close' })
      c.end()
    })
    const rig = await rigOver([server.port])
    for (let i = 0; i < 30; i++) expect((await rig.http.post('/', 'x')).status).toBe(200)
    expect(rig.attempts.outcomes.every((o) => o.verdict === 'success')).toBe(true)
    expect(server.connections).toBe(30)
  })

  it('an endpoint that closes each connection without a word loses no GET, and no POST that comes a moment later', async () => {
    const server = await serve(async (c) => {
      await c.request()
      c.answer(200, 'ok')
      c.end()
    })
    const rig = await rigOver([server.port])
    for (let i = 0; i < 30; i++) expect((await rig.http.get('/')).status).toBe(200)
    for (let i = 0; i < 10; i++) {
      await until(() => server.open === 0)
      expect((await rig.http.post('/', 'x')).status).toBe(200)
    }
  })
})

describe('an answer of 503', () => {
  it('is tried elsewhere if the call is idempotent', async () => {
    const busy = await serve(always(503, 'busy'))
    const good = await serve(always(200, 'ok'))
    const rig = await rigOver([busy.port, good.port])
    for (let i = 0; i < 6; i++) expect((await rig.http.get('/')).status).toBe(200)
    // The short body was read, not cut off: the connection lived on.
    expect(busy.connections).toBe(1)
    expect((await rig.http.put('/x', 'y')).status).toBe(200)
  })

  it('is the answer, with its body, for a POST and after the last attempt', async () => {
    const busy = await serve(always(503, 'busy', { 'retry-after': '0' }))
    const rig = await rigOver([busy.port])
    const post = await rig.http.post('/', 'x')
    expect([post.status, post.ok, await post.text()]).toEqual([503, false, 'busy'])
    expect(rig.attempts.admitted).toBe(1)
    const get = await rig.http.get('/')
    expect([get.status, await get.text()]).toEqual([503, 'busy'])
    expect(rig.attempts.admitted).toBe(4)
    expect(rig.calls.outcomes.map((o) => [o.verdict, o.code])).toEqual([
      ['failure', 'overloaded'],
      ['failure', 'overloaded'],
    ])
  })

  it('is tried elsewhere even for a POST when it is marked as not executed', async () => {
    const busy = await serve(always(503, 'busy', { 'inmesh-not-executed': 'overloaded' }))
    const good = await serve(always(200, 'ok'))
    const rig = await rigOver([busy.port, good.port])
    for (let i = 0; i < 4; i++) expect((await rig.http.post('/', 'x')).status).toBe(200)
    const res = await (await rigOver([busy.port], { retry: { attempts: 1 } })).http.post('/', 'x')
    expect(res.headers.get('inmesh-not-executed')).toBeUndefined()
    expect([...res.headers].map(([name]) => name)).toEqual(['content-length'])
  })

  it('with a long body of unknown length is retried, and at the end handed over whole', async () => {
    const long = 'x'.repeat(150_000)
    const busy = await serve(async (c) => {
      for (;;) {
        await c.request()
        c.write(
          `HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n${long.length.toString(16)}\r\n${long}\r\n0\r\n\r\n`,
        )
      }
    })
    const rig = await rigOver([busy.port], { retry: { attempts: 2 } })
    const res = await rig.http.get('/')
    expect(res.status).toBe(503)
    expect((await res.text()).length).toBe(long.length)
    expect(rig.attempts.admitted).toBe(2)
    await until(() => rig.transport.connections <= 1)
  })

  it('with an endless body ends with the deadline or the signal, in the reader', async () => {
    const endless = await serve(async (c) => {
      await c.request()
      c.write('HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n')
      const part = 'x'.repeat(20_000)
      const timer = setInterval(() => c.write(`${part.length.toString(16)}\r\n${part}\r\n`), 2)
      c.socket.on('close', () => clearInterval(timer))
    })
    const rig = await rigOver([endless.port])
    const first = await rig.http.get('/', { timeout: 700 })
    expect(first.status).toBe(500)
    expect((await failure(first.text())).code).toBe('deadline-exceeded')
    const controller = new AbortController()
    const second = await rig.http.get('/', { signal: controller.signal })
    const reading = failure(second.text())
    controller.abort()
    expect((await reading).code).toBe('cancelled')
    const third = await rig.http.get('/')
    await third.body.cancel()
    await until(() => endless.open === 0)
  })

  it('followed by an attempt without an answer is an error that tells both', async () => {
    const busy = await serve(always(503, 'busy'))
    const lost = await serve(
      afterRequest((c) => {
        c.reset()
      }),
    )
    const rig = await rigOver([busy.port, lost.port], { retry: { attempts: 2 } })
    const error = await failure(rig.http.get('/'))
    expect(error.code).toBe('connection-lost')
    expect(error.attempts.map((a) => [a.code, a.status])).toEqual([
      ['overloaded', 503],
      ['connection-lost', undefined],
    ])
    expect(error.elapsedMs).toBeGreaterThan(0)
  })

  it('with retry: false is final at once', async () => {
    const busy = await serve(always(503, 'busy'))
    const rig = await rigOver([busy.port])
    expect((await rig.http.get('/', { retry: false })).status).toBe(503)
    expect(rig.attempts.admitted).toBe(1)
  })
})

describe('time', () => {
  it('an attempt that takes too long is given up and the next one goes elsewhere', async () => {
    const slow = await serve(afterRequest(() => {}))
    const good = await serve(always(200, 'ok'))
    const rig = await rigOver([slow.port, good.port], { retry: { attempts: 2, perTryTimeout: 60 } })
    expect(await (await rig.http.get('/')).text()).toBe('ok')
    expect(rig.attempts.outcomes.map((o) => o.code)).toEqual(['attempt-timeout', undefined])
    await until(() => slow.open === 0)
  })

  it('the deadline ends the call, and a POST has all of it in one attempt', async () => {
    const slow = await serve(
      afterRequest((c) => {
        c.answer(200, 'ok')
      }),
    )
    const rig = await rigOver([slow.port], { retry: { perTryTimeout: 10 } })
    // On the connection of another, it is sent in its first turn.
    expect(await (await rig.http.post('/', 'x')).text()).toBe('ok')
    const error = await failure(rig.http.post('/', 'x', { timeout: '120ms' }))
    expect(error.code).toBe('deadline-exceeded')
    expect(error.attempts.length).toBe(1)
    expect(error.sent).toBe(true)
    await until(() => slow.open === 0)
  })

  it('the last attempt is bounded like the others where a document says so', async () => {
    const slow = await serve(afterRequest(() => {}))
    const retry = { attempts: 2, perTryTimeout: 250, boundLastTry: true }
    const rig = await rigOver([slow.port], { retry })
    const error = await failure(rig.http.get('/', { timeout: '60s' }))
    expect(error.code).toBe('attempt-timeout')
    expect(error.attempts.map(({ code }) => code)).toEqual(['attempt-timeout', 'attempt-timeout'])
    const post = await failure(rig.http.post('/', 'x', { timeout: '60s' }))
    expect(post.code).toBe('attempt-timeout')
    expect(post.attempts.length).toBe(1)
    await until(() => slow.open === 0)
  })

  it('no attempt comes before the least wait, not even at another endpoint', async () => {
    const good = await serve(always(200, 'ok'))
    const rig = await rigOver([await deadPort(), good.port], { retry: { backoff: { least: '80ms' } } })
    const waits: number[] = []
    for (let i = 0; i < 4; i++) {
      const at = performance.now()
      await rig.http.get('/')
      if (rig.attempts.outcomes.splice(0).length > 1) waits.push(performance.now() - at)
    }
    expect(waits.length).toBeGreaterThan(0)
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(75)
  })

  it('a body that trickles past the deadline fails in the reader, not silently short', async () => {
    const slow = await serve(async (c) => {
      await c.request()
      c.write('HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n')
      const timer = setInterval(() => c.write('x'), 10)
      c.socket.on('close', () => clearInterval(timer))
    })
    const rig = await rigOver([slow.port])
    const res = await rig.http.get('/', { timeout: 700 })
    expect(res.status).toBe(200)
    expect((await failure(res.text())).code).toBe('deadline-exceeded')
    expect(rig.calls.outcomes.map((o) => o.code)).toEqual(['deadline-exceeded'])
    await until(() => slow.open === 0)
  })

  it('an answer that was there while our own loop stood still is no timeout', async () => {
    let stall = false
    const server = await serve(async (c) => {
      for (;;) {
        await c.request()
        c.answer(200, 'ok')
        const at = performance.now()
        // The answer is in our socket, and the loop is busy.
        while (stall && performance.now() - at < 250);
      }
    })
    const rig = await rigOver([server.port], { retry: { perTryTimeout: 100 } })
    await rig.http.post('/')
    stall = true
    for (let i = 0; i < 3; i++) {
      const res = rig.http.get('/', { timeout: 150 })
      expect((await res).status).toBe(200)
    }
    stall = false
    const late = rig.http.get('/', { timeout: 150 })
    await new Promise((resolve) => setImmediate(resolve))
    expect((await late).status).toBe(200)
    expect(rig.attempts.outcomes.every((o) => o.verdict === 'success')).toBe(true)
  })

  it('a streaming response may outlast the deadline', async () => {
    const slow = await serve(async (c) => {
      await c.request()
      c.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n')
      setTimeout(() => c.write('1\r\nb\r\n0\r\n\r\n'), 900)
    })
    const rig = await rigOver([slow.port])
    const res = await rig.http.get('/', { timeout: 600, streaming: true })
    expect(await res.text()).toBe('ab')
  })
})

describe('no endpoint', () => {
  it('is waited for', async () => {
    const good = await serve(always(200, 'ok'))
    const rig = await rigOver([])
    const promise = rig.http.get('/')
    await until(() => rig.cluster.waiters === 1)
    const { endpoint } = await import('./rig.ts')
    rig.cluster.add(endpoint(good.port))
    expect((await promise).status).toBe(200)
    expect(rig.cluster.waiters).toBe(0)
  })

  it('within the deadline ends with it; the breaker hears that the call was given up', async () => {
    const rig = await rigOver([])
    const error = await failure(rig.http.get('/', { timeout: 50 }))
    expect(error.code).toBe('deadline-exceeded')
    expect(error.sent).toBe(false)
    expect(rig.calls.admitted).toBe(rig.calls.outcomes.length)
  })

  it('can be cancelled', async () => {
    const rig = await rigOver([])
    const controller = new AbortController()
    const promise = failure(rig.http.get('/', { signal: controller.signal }))
    await until(() => rig.cluster.waiters === 1)
    controller.abort(new Error('enough'))
    const error = await promise
    expect([error.code, (error.cause as Error).message]).toEqual(['cancelled', 'enough'])
    expect(rig.cluster.waiters).toBe(0)
  })
})

describe('a local refusal', () => {
  it('rejects with its code and teaches the endpoints nothing', async () => {
    const good = await serve(always(200, 'ok'))
    const rig = await rigOver([good.port])
    rig.attempts.refuseWith = 'concurrency-limited'
    const error = await failure(rig.http.get('/'))
    expect([error.code, error.sent, error.attempts.length]).toEqual(['concurrency-limited', false, 0])
    expect(rig.calls.outcomes.length).toBe(1)
    expect(good.connections).toBe(0)
  })
})
