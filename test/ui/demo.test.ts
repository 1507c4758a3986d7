/** The demo prints the address of the page and a token for it, and leaves nothing behind. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

it('the page of `npm run demo -- --ui` takes its token, and ends with the demo', async () => {
  const demo = spawn(process.execPath, ['examples/demo/main.ts', '--ui', '--seconds', '1'], {
    ...{ cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] },
  })
  const ended = once(demo, 'exit')
  try {
    let url = ''
    let token = ''
    for await (const line of createInterface({ input: demo.stdout! })) {
      url = /page of the mesh: (http:\S+)/.exec(line)?.[1] ?? url
      token = /token: (\S+)/.exec(line)?.[1] ?? token
      if (token !== '') break
    }
    const shell = await fetch(url)
    expect([shell.status, await shell.text()]).toEqual([200, expect.stringContaining('<title>inmesh</title>')])
    const login = await fetch(`${url}login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-inmesh-ui': '1', origin: new URL(url).origin },
      body: JSON.stringify({ token }),
    })
    expect([login.status, await login.json()]).toEqual([200, expect.objectContaining({ access: 'admin' })])
    demo.kill('SIGINT')
    expect(await ended).toEqual([130, null])
    await expect(fetch(url)).rejects.toThrow()
  } finally {
    demo.kill('SIGKILL')
    await ended
  }
}, 180_000)
