/** Decodes the directions of captured connections, frame by frame in the order of the capture. */
import { type DescribedFrame, FrameDescriber } from '../../mux/describe-frames.ts'
import { EXIT, Failure } from '../failure.ts'
import { readPackets } from './packet-file.ts'
import { GUESS_BYTES, guessProtocol, type Protocol, whyNot } from './protocol-guess.ts'
import { TcpDirection } from './tcp-direction.ts'
import { segmentOf } from './tcp-segment.ts'

export interface CapturedFrame extends DescribedFrame {
  /** Seconds since the first packet; not in a hex dump. */
  readonly seconds?: number
  readonly from?: string
  readonly to?: string
}

/** Why a direction, or the rest of it, is not decoded. */
export interface Skipped {
  readonly from?: string
  readonly to?: string
  readonly reason: string
}

export interface Findings {
  frame(frame: CapturedFrame): void
  skipped(skipped: Skipped): void
}

/** More connections than anyone captures to read them. */
const MOST_DIRECTIONS = 10_000

interface Place {
  readonly seconds?: number
  readonly from?: string
  readonly to?: string
}

/** One direction: guesses its protocol, then describes. */
class Direction {
  readonly #findings: Findings
  readonly #fromStart: boolean
  readonly #ends: Omit<Place, 'seconds'>
  #place: Place
  #first: Buffer = Buffer.alloc(0)
  #protocol: Protocol | undefined
  #describer: FrameDescriber | undefined
  #over = false

  constructor(findings: Findings, fromStart: boolean, ends: Omit<Place, 'seconds'>) {
    this.#findings = findings
    this.#fromStart = fromStart
    this.#ends = ends
    this.#place = ends
  }

  push(bytes: Buffer, place: Place): void {
    if (this.#over || bytes.length === 0) return
    this.#place = place
    if (this.#describer !== undefined) {
      this.#describe(bytes)
      return
    }
    this.#first = Buffer.concat([this.#first, bytes])
    if (this.#first.length < GUESS_BYTES) return
    this.#protocol = guessProtocol(this.#first, this.#fromStart)
    if (this.#protocol !== 'client' && this.#protocol !== 'server') {
      this.#stop(whyNot(this.#protocol))
      return
    }
    this.#describer = new FrameDescriber(this.#protocol === 'client', (frame) =>
      this.#findings.frame({ ...this.#place, ...frame }),
    )
    this.#describe(this.#first)
  }

  /** `reason`: why bytes are missing. */
  end(reason: string | undefined): void {
    if (this.#over) return
    if (reason !== undefined) this.#stop(reason)
    else if (this.#describer?.within === true) this.#stop('the capture ends within a frame')
    else if (this.#describer === undefined && this.#first.length > 0) this.#stop('too few bytes to tell what it is')
  }

  #describe(bytes: Buffer): void {
    this.#describer!.push(bytes)
    const { stopped } = this.#describer!
    if (stopped === undefined) return
    this.#stop(this.#fromStart ? stopped : `${stopped}; the capture lacks the beginning of the connection`)
  }

  #stop(reason: string): void {
    this.#over = true
    this.#findings.skipped({ ...this.#ends, reason })
  }
}

/** The bytes of one direction, as from a hex dump. */
export function decodeBytes(bytes: Buffer, findings: Findings): void {
  // The dump may begin anywhere, so what could be a frame is taken for one.
  const direction = new Direction(findings, false, {})
  direction.push(bytes, {})
  direction.end(undefined)
}

interface Tracked {
  readonly tcp: TcpDirection
  readonly decoded: Direction
}

/** @throws Failure if it is no capture, or has no TCP. */
export function decodePackets(file: Buffer, findings: Findings): void {
  const tracked = new Map<string, Tracked>()
  const links = new Set<number>()
  let begin: number | undefined
  for (const packet of readPackets(file)) {
    begin ??= packet.at
    links.add(packet.link)
    const segment = segmentOf(packet)
    if (segment === undefined) continue
    const { from, to } = segment
    const key = `${from} ${to}`
    let one = tracked.get(key)
    if (one === undefined || segment.syn) {
      end(one)
      // A repeated SYN begins anew, too: nothing of the connection was read yet.
      const tcp = new TcpDirection(segment)
      one = { tcp, decoded: new Direction(findings, tcp.fromStart, { from, to }) }
      if (tracked.size >= MOST_DIRECTIONS && !tracked.has(key)) {
        throw new Failure(
          EXIT.invalid,
          'invalid-capture',
          `the capture has over ${MOST_DIRECTIONS} directions of TCP; filter it`,
        )
      }
      tracked.set(key, one)
    }
    const place = { seconds: (packet.at - begin) / 1e6, from, to }
    for (const bytes of one.tcp.add(segment, segment.syn)) one.decoded.push(bytes, place)
  }
  for (const one of tracked.values()) end(one)
  if (tracked.size === 0) throw new Failure(EXIT.invalid, 'invalid-capture', whyEmpty(links))
}

function end(one: Tracked | undefined): void {
  one?.decoded.end(one.tcp.end())
}

function whyEmpty(links: ReadonlySet<number>): string {
  if (links.size === 0) return 'the capture has no packets'
  return `the capture has no TCP; its packets are of the link type ${[...links].join(', ')}`
}
