/**
 * Threads that serve the mesh: only the main thread gets signals, and it asks them to leave.
 */
import { subscribe } from 'node:diagnostics_channel'
import { BroadcastChannel, isMainThread, threadId } from 'node:worker_threads'
import type { TakenServer, TakenServers } from './taken-servers.ts'

const NAME = 'inmesh/auto'
/** As long as a drain takes at most, with its notice. */
const LEAVE_MS = 30_000

type Message = { readonly thread: number; readonly is: 'serving' | 'leave' | 'left' }

export function followThreads(servers: TakenServers): void {
  if (isMainThread) leadThreads(servers)
  else {
    let channel: BroadcastChannel | undefined
    servers.onFirst(() => {
      channel = open((message) => {
        if (message.is !== 'leave' || message.thread !== threadId) return
        void servers.leave().then(() => tell(channel!, 'left', threadId))
      })
      tell(channel, 'serving', threadId)
    })
  }
}

/** Each serving thread is like a server of the main thread. */
function leadThreads(servers: TakenServers): void {
  let channel: BroadcastChannel | undefined
  const waiting = new Map<number, () => void>()
  subscribe('worker_threads', (message) => {
    const { worker } = message as { worker: { readonly threadId: number; once(event: 'exit', end: () => void): void } }
    const { threadId: thread } = worker
    channel ??= open(({ is, thread: from }) => {
      if (is === 'serving') servers.add(serving(from))
      else if (is === 'left') waiting.get(from)?.()
    })
    worker.once('exit', () => waiting.get(thread)?.())
  })
  const serving = (thread: number): TakenServer => ({
    leave: () =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, LEAVE_MS).unref()
        waiting.set(thread, () => {
          clearTimeout(timer)
          waiting.delete(thread)
          resolve()
        })
        tell(channel!, 'leave', thread)
      }),
    finish: () => Promise.resolve(),
  })
}

function open(listener: (message: Message) => void): BroadcastChannel {
  const channel = new BroadcastChannel(NAME)
  channel.onmessage = ({ data }: { data?: unknown }) => listener(data as Message)
  channel.unref()
  return channel
}

function tell(channel: BroadcastChannel, is: Message['is'], thread: number): void {
  channel.postMessage({ is, thread } satisfies Message)
}
