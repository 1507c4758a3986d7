/** What differs between two documents, with a sign and a color for each side. */
import { changesBetween } from './diff.ts'

export function Changes({ before, after }: { before: unknown; after: unknown }) {
  const changes = changesBetween(before, after)
  if (changes.length === 0) return <p class="hint">Nothing differs.</p>
  return (
    <ul class="changes">
      {changes.map(({ path, was, is }) => (
        <li key={path}>
          <code>{path}</code>
          {was !== undefined && <del>{was}</del>}
          {is !== undefined && <ins>{is}</ins>}
        </li>
      ))}
    </ul>
  )
}
