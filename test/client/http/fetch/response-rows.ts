/** Rows of the table of `fetch`: what is answered, and how it ends. */
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { observe, type Row } from './doors.ts'

export const RESPONSE_ROWS: Row[] = [
  ...[200, 201, 202, 204, 205, 206, 300, 304, 400, 404, 418, 429, 500, 503, 599].map((status): Row => {
    return [
      `status ${status}`,
      async (door) => {
        const res = await door.fetch(`/status/${status}`)
        const { ok, statusText, redirected, type, bodyUsed } = res
        const head = { status: res.status, ok, statusText, redirected, type, bodyUsed, body: res.body === null }
        return [head, res.headers.get('X-A'), await res.text(), res.bodyUsed, await observe(() => res.text())]
      },
    ]
  }),
  [
    'HEAD',
    async (door) => {
      const res = await door.fetch('/hello', { method: 'HEAD' })
      const { status, body, bodyUsed } = res
      const twice = [await res.text(), await res.text(), await observe(() => res.json())]
      return [status, body, bodyUsed, twice, res.headers.get('content-type')]
    },
  ],
  [
    'headers of the answer',
    async (door) => {
      const { headers } = await door.fetch('/cookies')
      const own = [...headers].filter(([name]) => name === 'set-cookie' || name.startsWith('x-'))
      return [own, headers.getSetCookie(), headers.get('SET-COOKIE'), headers.has('X-mixed'), headers.get('none')]
    },
  ],
  ['url without fragment', async (door) => new URL((await door.fetch('/hello?a=1#b')).url).pathname],
  ...(['text', 'json', 'bytes', 'arrayBuffer', 'blob', 'formData'] as const).flatMap((method): Row[] => {
    return ['/hello', '/json', '/form', '/bom', '/empty', '/big'].map((path): Row => {
      return [
        `${method} of ${path}`,
        async (door) => {
          const res = await door.fetch(path)
          const value = await observe(() => res[method]())
          const told =
            value instanceof Blob
              ? [value.type, await value.text()]
              : value instanceof FormData
                ? [...value]
                : value instanceof ArrayBuffer
                  ? Buffer.from(value).toString()
                  : ArrayBuffer.isView(value)
                    ? [value.constructor.name, Buffer.from(value as Uint8Array).toString()]
                    : value
          return [told, res.bodyUsed, await observe(() => res[method]()), await observe(() => res.clone())]
        },
      ]
    })
  }),
  ...['/hello', '/big'].flatMap((path): Row[] => [
    [
      `clone of ${path}, each read by itself`,
      async (door) => {
        const res = await door.fetch(path)
        const copy = res.clone()
        const before = [res.bodyUsed, copy.bodyUsed]
        const first = await copy.text()
        const between = [res.bodyUsed, copy.bodyUsed]
        return [
          before,
          between,
          first === (await res.text()),
          first.length,
          copy.status,
          copy.type,
          copy.url === res.url,
        ]
      },
    ],
    [
      `clone of a clone of ${path}`,
      async (door) => {
        const res = await door.fetch(path)
        const copies = [res.clone(), res.clone()]
        copies.push(copies[0]!.clone())
        return (await Promise.all([res, ...copies].map((one) => one.text()))).map((body) => body.length)
      },
    ],
    [
      `a locked ${path}`,
      async (door) => {
        const res = await door.fetch(path)
        const reader = res.body!.getReader()
        const locked = [res.bodyUsed, await observe(() => res.text()), await observe(() => res.clone())]
        reader.releaseLock()
        const body = await res.text()
        return [locked, body.length, res.body!.locked, res.bodyUsed]
      },
    ],
    [
      `bytes of ${path} into an own buffer`,
      async (door) => {
        const reader = (await door.fetch(path)).body!.getReader({ mode: 'byob' })
        let got = ''
        for (;;) {
          const { done, value } = await reader.read(new Uint8Array(1_000))
          if (done) return [got.length, value?.byteLength]
          got += Buffer.from(value).toString()
        }
      },
    ],
    [
      `parts of ${path} are bytes`,
      async (door) => {
        let length = 0
        for await (const part of (await door.fetch(path)).body!) {
          if (part.constructor !== Uint8Array) return part.constructor.name
          length += part.byteLength
        }
        return length
      },
    ],
    [
      `a cancelled ${path}`,
      async (door) => {
        const res = await door.fetch(path)
        await res.body!.cancel()
        return [res.bodyUsed, await observe(() => res.text())]
      },
    ],
    [
      `another Response of ${path}`,
      async (door) => {
        const res = await door.fetch(path)
        const other = new Response(res.body, res)
        return [other.status, other.headers.get('content-type'), (await other.text()).length, res.bodyUsed]
      },
    ],
  ]),
  [
    'what code sees of a Response',
    async (door) => {
      const res = await door.fetch('/hello')
      const made = new (res.constructor as typeof Response)('again', res)
      return [
        res instanceof Response,
        Object.prototype.toString.call(res),
        res.constructor === Response,
        JSON.stringify(res),
        Object.keys(res),
        await made.text(),
        /^Response \{\s+status: 200,/.test(inspect(res)),
        inspect({ a: res })
          // inmesh/1 has no headers of a connection.
          .replace(/ headers: Headers \{[^}]*\}/, '')
          .replace(/http:\/\/[^/]+/, ''),
      ]
    },
  ],
  ['aborted before', (door) => observe(() => door.fetch('/hello', { signal: AbortSignal.abort({ mine: true }) }))],
  ['aborted before, without a reason', (door) => observe(() => door.fetch('/hello', { signal: AbortSignal.abort() }))],
  ['a timeout', (door) => observe(() => door.fetch('/hang', { signal: AbortSignal.timeout(10) }))],
  [
    'aborted while it waits',
    async (door) => {
      const controller = new AbortController()
      const answer = observe(() => door.fetch('/hang', { signal: controller.signal }))
      await sleep(5)
      controller.abort({ mine: true })
      return answer
    },
  ],
  ...(['/hello', '/half'] as const).flatMap((path): Row[] => {
    return (['text', 'body'] as const).map((how): Row => {
      return [
        `aborted with ${path} unread, then ${how}`,
        async (door) => {
          const controller = new AbortController()
          const res = await door.fetch(path, { signal: controller.signal })
          controller.abort()
          return observe(() => (how === 'text' ? res.text() : res.body!.getReader().read()))
        },
      ]
    })
  }),
  [
    'aborted within the body',
    async (door) => {
      const controller = new AbortController()
      const res = await door.fetch('/half', { signal: controller.signal })
      const reading = observe(() => res.text())
      await sleep(5)
      controller.abort({ mine: true })
      return reading
    },
  ],
  [
    'a lost connection reaches one that only waits for the end',
    async (door) => {
      const reader = (await door.fetch('/breaks')).body!.getReader()
      const closed = reader.closed.catch(() => 'broken')
      for (let length = 0; length < 70_000; ) length += (await reader.read()).value!.length
      await (await door.fetch('/break')).text()
      return closed
    },
  ],
  [
    'aborted after all was read',
    async (door) => {
      const controller = new AbortController()
      const res = await door.fetch('/hello', { signal: controller.signal })
      const body = await res.text()
      controller.abort()
      return [body, res.bodyUsed, await observe(() => res.text())]
    },
  ],
]
