/** When the certificates of processes end. */
import type { CertificatesAnswer } from '../../registry/api/traffic-certificates.ts'
import type { CertificateStep } from '../../registry/traffic/certificates.ts'
import { counted, processName, span, until } from '../format.ts'
import { useAnswer } from '../use-answer.ts'

const EVERY_MS = 10_000
const URGENT_MS = 600_000
const MOST_NAMED = 8

export function Expiry() {
  const { answer, trouble } = useAnswer<CertificatesAnswer>('/v1/traffic/certificates', EVERY_MS)
  if (answer === undefined) return <p class="hint">{trouble ?? '…'}</p>
  const { at, processes, unknown, steps, unreachable } = answer
  const most = Math.max(1, ...steps.map((step) => step.processes))
  return (
    <>
      <div class="table narrow">
        <table>
          <caption>Certificates of {counted(processes, 'process', 'processes')}, by the time until the end</caption>
          <thead>
            <tr>
              <th scope="col">Ends</th>
              <th scope="col" class="figure">
                Processes
              </th>
              <th scope="col">
                <span class="unseen">Bar</span>
              </th>
              <th scope="col">The first of them</th>
            </tr>
          </thead>
          <tbody>
            {steps.map((step) => (
              <Step key={String(step.withinMs)} step={step} most={most} at={at} />
            ))}
          </tbody>
        </table>
      </div>
      {unknown > 0 && <p class="hint">{unknown} of them joined without a certificate.</p>}
      {unreachable.length > 0 && (
        <p class="hint unheard">No answer of {unreachable.map(({ registry }) => registry).join(', ')}.</p>
      )}
    </>
  )
}

function Step({ step: { withinMs, processes, first }, most, at }: { step: CertificateStep; most: number; at: number }) {
  const isUrgent = withinMs !== null && withinMs <= URGENT_MS && processes > 0
  const title = withinMs === null ? 'later' : withinMs === 0 ? 'ended' : `within ${span(withinMs)}`
  const named = first.slice(0, MOST_NAMED)
  return (
    <tr class={isUrgent ? 'warn' : ''}>
      <th scope="row">{title}</th>
      <td class="figure">{processes}</td>
      <td>
        <svg viewBox="0 0 100 10" width="160" height="10" preserveAspectRatio="none" aria-hidden="true">
          <rect class="track" width="100" height="10" rx="2" />
          <rect class={isUrgent ? 'bar-warn' : 'bar-good'} width={(processes / most) * 100} height="10" rx="2" />
        </svg>
      </td>
      <td>
        {named.map(({ process, certificateEndsAt }) => (
          <span key={process} class="named">
            {processName(process)} <span class="hint">{until(certificateEndsAt, at)}</span>
          </span>
        ))}
        {processes > named.length && named.length > 0 && ` and ${processes - named.length} more`}
      </td>
    </tr>
  )
}
