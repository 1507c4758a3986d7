/** `inmesh decode`: the frames of `inmesh/1` in a capture, one a line. Other tools show bytes. */
import { open } from 'node:fs/promises'
import type { Command } from 'commander'
import { integer } from '../options/quantities.ts'
import { REDACTED, redactText } from '../telemetry/redact.ts'
import {
  type CapturedFrame,
  decodeBytes,
  decodePackets,
  type Findings,
  type Skipped,
} from './capture/decoded-directions.ts'
import { isHexText, readHexText } from './capture/hex-dump.ts'
import { isPacketFile } from './capture/packet-file.ts'
import { type CommonFlags, jsonOption } from './connection.ts'
import { withExample } from './examples.ts'
import { EXIT, Failure } from './failure.ts'
import { numeric, parsed } from './flag-values.ts'
import { type CliContext, printable, Terminal } from './terminal.ts'

const LARGEST_BYTES = 268_435_456
const SECRET_NAME = /authorization|cookie|token|secret|api-?key|password/i

interface DecodeFlags extends CommonFlags {
  readonly most: number
}

export function addDecodeCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('decode')
    .description('Print the frames of inmesh/1 in a capture of connections without TLS, one a line.')
    .argument('<file>', "pcap, pcapng, a hex dump or the bytes themselves; '-' reads standard input")
    .option('--most <n>', 'frames to print', parsed(integer({ min: 1, max: 1_000_000 }), numeric), 10_000)
    .addOption(jsonOption())
  withExample(command, 'inmesh decode mesh.pcap', 'tcpdump -i lo -s 0 -w - port 8080 | inmesh decode -')
  command.action(async (file: string, flags: DecodeFlags) => {
    const terminal = new Terminal(surroundings, flags.json === true)
    const input = await read(file, surroundings.stdin)
    const frames: CapturedFrame[] = []
    const skipped: Skipped[] = []
    let count = 0
    const findings: Findings = {
      frame(frame) {
        count += 1
        if (count <= flags.most) frames.push(frame)
      },
      skipped: (one) => void skipped.push(one),
    }
    if (isPacketFile(input)) decodePackets(input, findings)
    else decodeBytes(isHexText(input) ? readHexText(input.toString('latin1')) : input, findings)
    if (count === 0) throw nothingIn(file, skipped)
    const shown = frames.map(withoutSecrets)
    terminal.result({ frames: shown, skipped, count }, () => shown.map(lineOf))
    for (const one of skipped) terminal.note(`${printable(endsOf(one))}not decoded: ${one.reason}`)
    if (count > flags.most) terminal.note(`${count - flags.most} more frames; --most prints them`)
  })
}

async function read(name: string, stdin: CliContext['stdin']): Promise<Buffer> {
  const pieces: Buffer[] = []
  let bytes = 0
  const take = (chunk: Uint8Array | string): void => {
    const piece = Buffer.from(chunk as Uint8Array)
    bytes += piece.length
    if (bytes > LARGEST_BYTES) {
      throw new Failure(EXIT.invalid, 'invalid-capture', `${name} has over ${LARGEST_BYTES} bytes; filter the capture`)
    }
    pieces.push(piece)
  }
  try {
    if (name === '-') for await (const chunk of stdin) take(chunk)
    else {
      await using file = await open(name)
      for await (const chunk of file.createReadStream({ highWaterMark: 1_048_576 })) take(chunk as Buffer)
    }
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure(EXIT.invalid, 'unreadable', `cannot read ${name}: ${(error as Error).message}`)
  }
  if (bytes === 0) throw new Failure(EXIT.invalid, 'invalid-capture', `${name} is empty`)
  return Buffer.concat(pieces)
}

function nothingIn(file: string, skipped: readonly Skipped[]): Failure {
  const reasons = [...new Set(skipped.map(({ reason }) => reason))]
  const why = reasons.length === 0 ? 'no connection in it has data' : reasons.slice(0, 3).join('; ')
  return new Failure(EXIT.failed, 'no-frames', `${file} has no frames of inmesh/1: ${why}`)
}

function withoutSecrets(frame: CapturedFrame): CapturedFrame {
  const { headers, path } = frame
  if (headers === undefined) return frame
  const shown = headers.map((text, i) => {
    if (i % 2 === 0) return text
    return SECRET_NAME.test(headers[i - 1]!) ? REDACTED : redactText(text, 1_000)
  })
  return { ...frame, ...(path !== undefined && { path: redactText(path, 2_000) }), headers: shown }
}

function endsOf({ from, to }: Pick<Skipped, 'from' | 'to'>): string {
  return from === undefined ? '' : `${from} > ${to}: `
}

function lineOf(frame: CapturedFrame): string {
  const { seconds, stream, type, method, path, status, reason, headers = [], body, end, bytes, problem } = frame
  const parts: (string | undefined)[] = [
    seconds?.toFixed(6),
    frame.from === undefined ? undefined : `${frame.from} > ${frame.to}`,
    type,
    stream === 0 ? undefined : `stream ${stream}`,
    method,
    path,
    status === undefined ? undefined : String(status),
    frame.code,
    reason === undefined || reason === '' ? undefined : JSON.stringify(reason),
    frame.lastStream === undefined ? undefined : `last stream ${frame.lastStream}`,
    frame.credit === undefined ? undefined : `${frame.credit} bytes`,
    ...Object.entries(frame.settings ?? {}).map(([key, value]) => `${key}=${value}`),
    ...Object.entries(frame.load ?? {}).map(([key, value]) => `${key}=${value}`),
    type === 'DATA' ? `${bytes} bytes` : undefined,
    body === undefined ? undefined : `body ${body} bytes`,
    frame.ack && 'ack',
    end && 'end',
    problem === undefined ? undefined : `malformed: ${problem}`,
    ...headers.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${headers[i + 1]}`] : [])).map((text) => `| ${text}`),
  ]
  return printable(parts.filter((part) => part !== undefined).join(' '))
}
