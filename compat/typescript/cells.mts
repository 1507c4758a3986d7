/** Each compiler with each way to resolve modules, with `skipLibCheck: false` and no optional peers; one with the DOM. */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Cell, Part, Project } from '../rig.ts'

interface Way {
  readonly name: string
  readonly versions?: readonly string[]
  readonly type: 'module' | 'commonjs'
  readonly options: Record<string, unknown>
}

const VERSIONS = ['5.9', '6', '7']
const STRICTEST = { exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, verbatimModuleSyntax: true }
const EXPERIMENTAL = { experimentalDecorators: true, emitDecoratorMetadata: true }

const WAYS: readonly Way[] = [
  { name: 'nodenext, strictest', type: 'module', options: { module: 'nodenext', ...STRICTEST } },
  { name: 'nodenext, experimentalDecorators', type: 'module', options: { module: 'nodenext', ...EXPERIMENTAL } },
  {
    name: 'bundler, strictest',
    type: 'module',
    options: { module: 'preserve', moduleResolution: 'bundler', ...STRICTEST },
  },
  {
    name: 'bundler, experimentalDecorators',
    type: 'module',
    options: { module: 'esnext', moduleResolution: 'bundler', ...EXPERIMENTAL },
  },
  {
    name: 'bundler, lib DOM, strictest',
    type: 'module',
    options: {
      module: 'preserve',
      moduleResolution: 'bundler',
      lib: ['es2023', 'esnext.disposable', 'dom', 'dom.iterable'],
      ...STRICTEST,
    },
  },
  { name: 'node16, CommonJS file', type: 'commonjs', options: { module: 'node16', ...EXPERIMENTAL } },
  {
    name: 'nodenext, CommonJS file, exact',
    type: 'commonjs',
    options: { module: 'nodenext', exactOptionalPropertyTypes: true },
  },
  {
    name: 'commonjs, node10',
    versions: ['5.9'],
    type: 'commonjs',
    options: { module: 'commonjs', moduleResolution: 'node10', esModuleInterop: true, ...EXPERIMENTAL },
  },
  {
    name: 'commonjs, bundler',
    versions: ['6', '7'],
    type: 'commonjs',
    options: { module: 'commonjs', moduleResolution: 'bundler', ...EXPERIMENTAL },
  },
]

const COMMON = {
  target: 'es2022',
  lib: ['es2023', 'esnext.disposable'],
  types: ['node'],
  strict: true,
  skipLibCheck: false,
  noEmit: true,
}

export default function cellsOf(project: Project): Part {
  const cells = VERSIONS.flatMap((version) =>
    WAYS.filter(({ versions }) => versions?.includes(version) ?? true).map((way) => cell(project, version, way)),
  )
  return { cells }
}

function cell(project: Project, version: string, { name, type, options }: Way): Cell {
  return {
    name: `TypeScript ${version}, ${name}`,
    async run() {
      const folder = `${version}-${name}`.replace(/[^\w.]+/g, '-')
      mkdirSync(join(project.path, folder))
      writeFileSync(join(project.path, folder, 'package.json'), JSON.stringify({ type }))
      for (const file of ['program.ts', 'decorated.ts'])
        copyFileSync(join(project.path, file), join(project.path, folder, file))
      const config = { compilerOptions: { ...COMMON, ...options }, files: ['program.ts', 'decorated.ts'] }
      writeFileSync(join(project.path, folder, 'tsconfig.json'), JSON.stringify(config))
      await project.node([`node_modules/typescript-${version}/bin/tsc`, '-p', folder])
    },
  }
}
