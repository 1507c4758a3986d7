/** Fits the picture to its place; zooms by buttons, keys and wheel, and moves by dragging. */
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Layout } from './layout.ts'

const SCALE = { least: 0.2, most: 3, step: 1.25 } as const
/** A fitted picture neither gets too small to read nor larger than is of use. */
const FIT = { least: 0.55, most: 1.25 } as const
const HIGHEST_SHARE = 0.72

export function ViewPort({ layout, children }: { layout: Layout; children: ComponentChildren }) {
  const place = useRef<HTMLElement>(null)
  const [room, setRoom] = useState({ width: 1_200, height: 600 })
  /** `undefined`: fitted. */
  const [chosen, setChosen] = useState<number>()
  useEffect(() => {
    const element = place.current!
    const measure = (): void => setRoom({ width: element.clientWidth, height: innerHeight * HIGHEST_SHARE })
    const watcher = new ResizeObserver(measure)
    watcher.observe(element)
    measure()
    return () => watcher.disconnect()
  }, [])
  const fitting = Math.min(room.width / layout.width, room.height / layout.height)
  const scale = chosen ?? Math.min(FIT.most, Math.max(FIT.least, fitting))
  const zoom = (factor: number): void => setChosen(Math.min(SCALE.most, Math.max(SCALE.least, scale * factor)))
  const onWheel = (event: WheelEvent): void => {
    if (!event.ctrlKey && !event.metaKey) return
    event.preventDefault()
    zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1)
  }
  const onKeyDown = ({ key }: KeyboardEvent): void => {
    if (key === '+' || key === '=') zoom(SCALE.step)
    else if (key === '-') zoom(1 / SCALE.step)
    else if (key === '0') setChosen(undefined)
  }
  return (
    <div class="view-port">
      <section
        ref={place}
        class="picture"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by keyboard, too
        tabIndex={0}
        aria-label="Graph of services; the table below has the same figures"
        onWheel={onWheel}
        onKeyDown={onKeyDown}
        onPointerDown={(event) => drag(place.current!, event)}
      >
        <svg
          viewBox={`0 0 ${layout.width} ${layout.height}`}
          width={layout.width * scale}
          height={layout.height * scale}
          class={`${layout.density}${scale < 0.75 ? ' far' : ''}`}
        >
          <title>Services and their calls</title>
          {children}
        </svg>
      </section>
      <div class="zoom">
        <button type="button" aria-label="Zoom in" title="Zoom in (+)" onClick={() => zoom(SCALE.step)}>
          +
        </button>
        <button type="button" aria-label="Zoom out" title="Zoom out (−)" onClick={() => zoom(1 / SCALE.step)}>
          −
        </button>
        <button type="button" title="Fit (0)" disabled={chosen === undefined} onClick={() => setChosen(undefined)}>
          Fit
        </button>
      </div>
    </div>
  )
}

/** Follows the pointer until it is released. */
function drag(element: HTMLElement, start: PointerEvent): void {
  if (start.button !== 0 || start.pointerType === 'touch' || (start.target as Element).closest('a') !== null) return
  const from = { left: element.scrollLeft, top: element.scrollTop }
  const follow = ({ clientX, clientY }: PointerEvent): void => {
    element.scrollLeft = from.left + start.clientX - clientX
    element.scrollTop = from.top + start.clientY - clientY
  }
  const stop = (): void => {
    removeEventListener('pointermove', follow)
    removeEventListener('pointerup', stop)
    removeEventListener('pointercancel', stop)
  }
  addEventListener('pointermove', follow)
  addEventListener('pointerup', stop)
  addEventListener('pointercancel', stop)
}
