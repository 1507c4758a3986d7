/** Each supported Node: the packed package with calls by HTTP and gRPC, and a part of our tests. */
import { copyFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { type Cell, type Part, Project } from '../rig.ts'

const ROOT = join(import.meta.dirname, '../..')
const CASES = ['mesh.cases.js', 'mesh.node-test.js']
/** What depends on Node most: sockets, TLS, HTTP/2, contexts, SQLite. */
const SUITE = ['test/core', 'test/identity', 'test/client/http', 'test/server/http', 'test/registry/storage']

export default function cellsOf(project: Project): Part {
  for (const file of CASES) copyFileSync(join(ROOT, 'compat/jest', file), join(project.path, file))
  const nodes = [
    ['24', process.execPath],
    ['22.19', join(project.path, 'node_modules/node-22/bin/node')],
    ['26', join(project.path, 'node_modules/node-26/bin/node')],
  ] as const
  return { cells: nodes.flatMap(([version, node]) => cellsOn(project, version, node)) }
}

function cellsOn(project: Project, version: string, node: string): Cell[] {
  const PATH = [dirname(node), join(ROOT, 'node_modules/.bin'), process.env.PATH].join(delimiter)
  const vitest = [
    'node_modules/vitest/vitest.mjs',
    'run',
    ...['alone', 'inmesh', 'http/1.1'].flatMap((name) => ['--project', name]),
  ]
  const cells: Cell[] = [
    { name: `Node ${version}, load and command`, run: () => project.run(node, ['smoke.js'], { PATH }) },
    { name: `Node ${version}, calls by HTTP and gRPC`, run: () => project.run(node, ['--test', CASES[1]!], { PATH }) },
  ]
  // `npm test` runs all of it on Node 24.
  if (node !== process.execPath) {
    cells.push({
      name: `Node ${version}, our tests`,
      run: () => new Project(ROOT).run(node, [...vitest, ...SUITE], { PATH }),
    })
  }
  return cells
}
