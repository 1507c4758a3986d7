import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import {
  data,
  END,
  fields,
  frame,
  goAway,
  PREFACE,
  ping,
  request,
  reset,
  response,
  settings,
  TYPE,
  trailers,
  window,
} from '../../mux/raw-mux.ts'
import { run } from '../run-command.ts'
import { ethernet, ipv4, pcap, SYN } from './packets.ts'

const directory = mkdtempSync(join(tmpdir(), 'decode-'))
afterAll(() => rmSync(directory, { recursive: true }))

let files = 0
function file(bytes: Buffer | string): string {
  files += 1
  const path = join(directory, `${files}.bin`)
  writeFileSync(path, bytes)
  return path
}

const [CLIENT, SERVER] = ['10.0.0.1:40000', '10.0.0.2:8080']

/** Both directions of a connection, each in segments of `size` bytes. */
function connection(up: Buffer, down: Buffer, size = 1_400): Buffer[] {
  const packets = [
    ipv4({ sequence: 99, flags: SYN }),
    ipv4({ from: SERVER, to: CLIENT, sequence: 499, flags: SYN | 16 }),
  ]
  for (const [bytes, from, to, first] of [
    [up, CLIENT, SERVER, 100],
    [down, SERVER, CLIENT, 500],
  ] as const) {
    for (let at = 0; at < bytes.length; at += size) {
      packets.push(ipv4({ from, to, sequence: first + at, payload: bytes.subarray(at, at + size) }))
    }
  }
  return packets.map((packet) => ethernet(packet))
}

const UP = Buffer.concat([
  PREFACE,
  settings(0),
  request(1, {
    method: 1,
    path: '/items/42',
    headers: [
      ['host', 'inventory'],
      ['authorization', 'Basic abc'],
    ],
  }),
  window(0, 70_000),
  ping(),
  reset(1, 1, 'no longer wanted'),
])
const DOWN = Buffer.concat([
  settings(),
  response(1, 200, { headers: [['content-type', 'text/plain']], body: 'hello', flags: 0 }),
  data(1, 'more'),
  trailers(1, [['x-end', '1']]),
  ping('12345678', 32),
  goAway(1, 3, 'ping-flood'),
])

test.each([1_400, 1, 13])('a capture in segments of %d bytes is printed one frame a line', async (size) => {
  const { code, stdout, stderr } = await run(['decode', file(pcap(connection(UP, DOWN, size)))])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => line.replace(/^\d+\.\d{6} /, ''))
  expect(lines).toEqual([
    `${CLIENT} > ${SERVER} SETTINGS maxStreams=0 streamWindow=262144 connectionWindow=4194304`,
    `${CLIENT} > ${SERVER} REQUEST stream 1 GET /items/42 end | host: inventory | authorization: [redacted]`,
    `${CLIENT} > ${SERVER} WINDOW 70000 bytes`,
    `${CLIENT} > ${SERVER} PING`,
    `${CLIENT} > ${SERVER} RESET stream 1 CANCELLED "no longer wanted"`,
    `${SERVER} > ${CLIENT} SETTINGS maxStreams=100 streamWindow=262144 connectionWindow=4194304`,
    `${SERVER} > ${CLIENT} RESPONSE stream 1 200 body 5 bytes | content-type: text/plain`,
    `${SERVER} > ${CLIENT} DATA stream 1 4 bytes`,
    `${SERVER} > ${CLIENT} TRAILERS stream 1 | x-end: 1`,
    `${SERVER} > ${CLIENT} PING ack`,
    `${SERVER} > ${CLIENT} GOAWAY FLOOD "ping-flood" last stream 1`,
  ])
})

test('reports of load are printed, with the setting that asks for them', async () => {
  const load = Buffer.from([0, 3, 0, 0, 0x30, 0xd4, 0, 0, 0x26, 0x48])
  const asks = Buffer.concat([settings(0).subarray(9), Buffer.from([0, 4, 0, 0, 0, 1])])
  const up = Buffer.concat([PREFACE, frame(TYPE.settings, 0, 0, asks), request(1)])
  const down = Buffer.concat([
    settings(),
    frame(TYPE.response, 64, 1, Buffer.concat([Buffer.from([0, 200]), load, fields([])])),
    frame(TYPE.trailers, 64, 1, Buffer.concat([load, fields([['x-end', '1']])])),
  ])
  const { stdout } = await run(['decode', file(pcap(connection(up, down)))])
  const lines = stdout.split('\n').filter((line) => /takesLoad|inFlight/.test(line))
  expect(lines.map((line) => line.replace(/^.*(?=SETTINGS|RESPONSE|TRAILERS)/, ''))).toEqual([
    'SETTINGS maxStreams=0 streamWindow=262144 connectionWindow=4194304 takesLoad=true',
    'RESPONSE stream 1 200 inFlight=3 latencyMs=12.5 servedMs=9.8',
    'TRAILERS stream 1 inFlight=3 latencyMs=12.5 servedMs=9.8 | x-end: 1',
  ])
})

test('bytes, hex and standard input are read alike', async () => {
  const plain = await run(['decode', file(UP)])
  expect(plain.stdout.split('\n')[1]).toBe(
    'REQUEST stream 1 GET /items/42 end | host: inventory | authorization: [redacted]',
  )
  expect((await run(['decode', file(UP.toString('hex'))])).stdout).toBe(plain.stdout)
  expect((await run(['decode', '-'], { stdin: UP.toString('hex') })).stdout).toBe(plain.stdout)
  const dumped = spawnSync('xxd', [], { input: UP, encoding: 'utf8' })
  if (dumped.status === 0) expect((await run(['decode', '-'], { stdin: dumped.stdout })).stdout).toBe(plain.stdout)
})

test('JSON has every frame, and what was not decoded', async () => {
  const { stdout } = await run(['decode', file(pcap(connection(UP, Buffer.from('HTTP/1.1 200 OK\r\n\r\n')))), '--json'])
  const { frames, skipped, count } = JSON.parse(stdout)
  expect(frames[1]).toMatchObject({ type: 'REQUEST', stream: 1, method: 'GET', from: CLIENT, to: SERVER, end: true })
  expect(skipped).toEqual([{ from: SERVER, to: CLIENT, reason: 'HTTP/1.1, not inmesh/1' }])
  expect(count).toBe(5)
})

test.each<[string, Buffer, string]>([
  ['TLS', Buffer.from('1603010200010001fc0303', 'hex'), 'TLS: the frames are encrypted'],
  ['HTTP/1.1', Buffer.from('GET / HTTP/1.1\r\nhost: a\r\n\r\n'), 'HTTP/1.1, not inmesh/1'],
  ['HTTP/2', Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), 'HTTP/2, not inmesh/1'],
  ['something else', Buffer.from('hello, this is no protocol'), 'neither inmesh/1 nor TLS nor HTTP'],
  ['too little', Buffer.from([0, 1]), 'too few bytes to tell what it is'],
])('%s is named, in a capture and as bytes', async (_what, bytes, reason) => {
  for (const input of [bytes, pcap(connection(bytes, Buffer.alloc(0)))]) {
    const { code, stdout, stderr } = await run(['decode', file(input)])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain('has no frames of inmesh/1')
    expect(stderr).toContain(reason)
  }
})

test('a malformed head is one line, and the next frame follows', async () => {
  const { stdout } = await run([
    'decode',
    file(Buffer.concat([UP, request(3, { headers: [['a', '\x1b[2J']] }), ping()])),
  ])
  expect(stdout.trim().split('\n').slice(-2)).toEqual([
    expect.stringMatching(/^REQUEST stream 3 .*malformed: /),
    'PING',
  ])
  expect(stdout).not.toContain('\x1b')
})

test('what a peer writes is printed without control and format characters, in every field', async () => {
  const evil = 'a\x1b]0;own\x07\x9b2J\xad\r\nb'
  const bytes = Buffer.concat([
    PREFACE,
    settings(0),
    request(1, { method: `X${evil}`, path: `/${evil}`, headers: [[`x-${evil}`, evil]] }),
    request(2, { method: 1, path: `/${evil}` }),
    request(3, { method: 1, path: '/', headers: [['x', evil]] }),
    trailers(1, [[`x-${evil}`, evil]]),
    reset(1, 200, evil),
    goAway(0, 200, evil),
  ])
  const head = Buffer.concat([Buffer.from([0, 200, evil.length]), Buffer.from(evil, 'latin1'), Buffer.from([0, 0])])
  const answers = Buffer.concat([settings(), frame(2, 16 + END, 1, head), goAway(0, 1, evil)])
  for (const [input, frames] of [
    [bytes, 7],
    [answers, 3],
    [pcap(connection(bytes, answers)), 10],
  ] as const) {
    const plain = await run(['decode', file(input)])
    const json = await run(['decode', file(input), '--json'])
    expect(plain.stdout.trimEnd().split('\n')).toHaveLength(frames)
    for (const { stdout, stderr } of [plain, json])
      expect((stdout + stderr).replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u)
  }
})

test('an impossible frame ends the direction with a reason', async () => {
  const { code, stderr } = await run(['decode', file(Buffer.concat([UP, frame(99, 0, 0), ping()]))])
  expect(code).toBe(0)
  expect(stderr).toContain('not decoded: a frame of the type 99, which inmesh/1 has not')
})

test('a hole in the capture is named', async () => {
  const packets = connection(UP, DOWN, 40)
  packets.splice(3, 1)
  const { stderr } = await run(['decode', file(pcap(packets))])
  expect(stderr).toContain('40 bytes are missing in the capture')
})

test('no more frames are printed than asked for', async () => {
  const { stdout, stderr } = await run(['decode', '--most', '2', file(UP)])
  expect(stdout.trim().split('\n')).toHaveLength(2)
  expect(stderr).toBe('3 more frames; --most prints them\n')
})

test.each([
  ['no file', join(tmpdir(), 'nothing-here.pcap'), 'cannot read'],
  ['an empty file', '', 'is empty'],
  [
    'a capture without TCP',
    pcap([ethernet(Buffer.alloc(40))]),
    'the capture has no TCP; its packets are of the link type 1',
  ],
  ['a capture without packets', pcap([]), 'the capture has no packets'],
  ['a broken dump', '00 69 6e 6d 65 73 68 2f 31\nzz\n', 'line 2 is no hex dump'],
])('%s is one clear error', async (what, input, message) => {
  const { code, stdout, stderr } = await run(['decode', what === 'no file' ? String(input) : file(input)])
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toContain(message)
  expect(stderr.trim().split('\n')).toHaveLength(1)
})

test('a flag END is printed for the last data', async () => {
  const { stdout } = await run(['decode', file(Buffer.concat([PREFACE, settings(), data(1, 'a', END)]))])
  expect(stdout).toContain('DATA stream 1 1 bytes end')
})
