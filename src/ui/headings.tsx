/** The heads of a table's columns: those of figures stand over their figures, at the end. */

const FIGURES: ReadonlySet<string> = new Set([
  ...['Weight', 'Share', 'Served', 'Calls', 'Success', 'p50', 'p99', 'In flight'],
  ...['Sessions', 'Revision', 'Lag', 'Processes'],
])

export function Headings({ titles }: { titles: readonly string[] }) {
  return (
    <tr>
      {titles.map((title) => (
        <th key={title} scope="col" class={FIGURES.has(title) ? 'figure' : ''}>
          {title}
        </th>
      ))}
    </tr>
  )
}
