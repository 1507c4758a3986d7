import { expect, test } from 'vitest'
import { runExample } from '../../test/rigs/run-example.ts'

test('a service has a line for each call and request, and metrics beside its own', async () => {
  const { code, lines, complaints } = await runExample('examples/observability/main.ts')
  expect({ code, complaints }).toEqual({ code: 0, complaints: '' })
  const logged = lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))
  const shown = logged.map((line) => `${line['inmesh.side']} ${line['url.path']} ${line['inmesh.flag'] ?? 'ok'}`)
  expect(shown.toSorted()).toEqual([
    'client /items/42 ok',
    'client /items/43 SE',
    'client /metrics ok',
    'server /items/42 ok',
    'server /items/43 SE',
    'server /metrics ok',
  ])
  expect(logged.flatMap((line) => line['http.request.header.x-request-id'] ?? []).toSorted()).toEqual([
    'r-1',
    'r-1',
    'r-2',
    'r-2',
  ])
  expect(lines.join()).not.toContain('secret')
  const labels = 'service="inventory",peer="inventory",method="GET"'
  expect(lines.filter((line) => !line.startsWith('{'))).toEqual([
    `inmesh_client_requests_total{${labels},code="ok"} 1`,
    `inmesh_client_requests_total{${labels},code="server-error"} 1`,
  ])
})
