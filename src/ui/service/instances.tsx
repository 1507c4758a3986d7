/** The instances of a service: state, load, latency, certificate, and how current each is. */
import type { ServiceInstance } from '../../registry/traffic/instances.ts'
import type { Session } from '../api.ts'
import { count, dateTime, latency, percent, processName, rate, span, UNKNOWN, until } from '../format.ts'
import { Headings } from '../headings.tsx'
import { useAnswer } from '../use-answer.ts'
import { Release } from './release.tsx'

const EVERY_MS = 5_000

interface InstancesAnswer {
  readonly at: number
  readonly frozen: boolean
  readonly unreachable: readonly { readonly registry: string; readonly reason: string }[]
  readonly instances: readonly ServiceInstance[]
}

interface InstancesProps {
  readonly service: string
  readonly session: Session
}

export function Instances({ service, session }: InstancesProps) {
  const { answer, trouble, askAgain } = useAnswer<InstancesAnswer>(`/v1/traffic/instances?service=${service}`, EVERY_MS)
  if (answer === undefined) return <p class="hint">{trouble ?? '…'}</p>
  const { at, instances, frozen, unreachable } = answer
  return (
    <section>
      {frozen && <Release service={service} session={session} onDone={askAgain} />}
      <div class="table">
        <table>
          <caption>Instances</caption>
          <thead>
            <Headings titles={TITLES} />
          </thead>
          <tbody>
            {instances.map((instance) => (
              <Instance key={instance.id} instance={instance} at={at} />
            ))}
          </tbody>
        </table>
        {instances.length === 0 && <p class="hint">None is registered.</p>}
        {unreachable.length > 0 && (
          <p class="hint unheard">No answer of {unreachable.map(({ registry }) => registry).join(', ')}.</p>
        )}
      </div>
    </section>
  )
}

const TITLES = [
  ...['Address', 'State', 'Version', 'Zone', 'Weight', 'Share', 'Served', 'Success', 'p50', 'p99', 'In flight'],
  ...['Calls', 'Certificate', 'Documents', 'Registry', 'Process'],
]

function Instance({ instance, at }: { instance: ServiceInstance; at: number }) {
  const { address, state, disabled, version, zone, weight, registry, registeredAt, process, served } = instance
  const isSilent = process?.silentMs !== undefined && (process?.silentMs ?? 0) > 2 * EVERY_MS
  const severity = disabled || state !== 'ready' ? 'warn' : process === null || isSilent ? 'unheard' : ''
  return (
    <tr class={severity} data-instance={address}>
      <th scope="row" title={instance.id}>
        {address}
      </th>
      <td title={`since ${dateTime(registeredAt)}`}>{disabled ? 'disabled' : state}</td>
      <td>{version ?? UNKNOWN}</td>
      <td>{zone ?? UNKNOWN}</td>
      <td class="figure">{weight}</td>
      <td class="figure">
        <Share share={served?.share ?? null} />
      </td>
      <td class="figure">{rate(served?.perSecond ?? null)}</td>
      <td class="figure">{percent(served?.success ?? null)}</td>
      <td class="figure">{latency(served?.p50 ?? null)}</td>
      <td class="figure">{latency(served?.p99 ?? null)}</td>
      <td class="figure">{count(served?.inFlight ?? null)}</td>
      <td class="figure">{rate(process?.perSecond ?? null)}</td>
      <td>{until(process?.certificateEndsAt ?? null, at)}</td>
      <td title="Acknowledged of those that it watches">{acknowledged(process)}</td>
      <td>{registry}</td>
      <td>
        {process === null
          ? 'not heard'
          : isSilent
            ? `silent ${span(process.silentMs ?? 0)}`
            : processName(process.process)}
      </td>
    </tr>
  )
}

/** Of all that the instances served. */
function Share({ share }: { share: number | null }) {
  if (share === null) return <>{UNKNOWN}</>
  return (
    <span class="share-bar">
      {percent(share)}
      <svg viewBox="0 0 100 6" width="56" height="5" preserveAspectRatio="none" aria-hidden="true">
        <rect class="track" width="100" height="6" />
        <rect class="part-0" width={share * 100} height="6" />
      </svg>
    </span>
  )
}

function acknowledged(process: ServiceInstance['process']): string {
  if (process === null || process.behind === null || process.watches === null) return UNKNOWN
  return process.behind === 0 ? `all ${process.watches}` : `${process.behind} of ${process.watches} not yet`
}
