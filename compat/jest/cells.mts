/** Runners of tests: the cases of `mesh.cases.js` in each, and TypeScript where a transform reads it. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Part, Project } from '../rig.ts'

export default function cellsOf(project: Project): Part {
  const jest = (version: string, tests: string, config: object = {}, flags: string[] = []) => {
    const file = `jest-${tests}-${flags.length}-${Object.keys(config).join('-')}.json`
    const all = { testMatch: [`**/${tests}`], testEnvironment: 'node', ...config }
    writeFileSync(join(project.path, file), JSON.stringify(all))
    return project.node([...flags, `node_modules/${version}/bin/jest.js`, '--config', file])
  }
  const typescript = { module: 'commonjs', moduleResolution: 'bundler', types: ['node', 'jest'], esModuleInterop: true }
  const transform = (name: string, options: object) => ({ transform: { '\\.ts$': [name, options] } })
  const cells = [
    { name: 'Jest 30, no flags, no transform of ours', run: () => jest('jest', 'mesh.jest.js') },
    { name: 'Jest 29, no flags, no transform of ours', run: () => jest('jest-29', 'mesh.jest.js') },
    {
      name: 'Jest 30, --experimental-vm-modules',
      run: () =>
        jest('jest', 'modules.jest.mjs', { moduleFileExtensions: ['js', 'mjs', 'cjs'], transform: {} }, [
          '--experimental-vm-modules',
          '--no-warnings',
        ]),
    },
    {
      name: 'Jest 30, ts-jest',
      run: () => jest('jest', 'imports.jest.ts', transform('ts-jest', { tsconfig: { ...typescript, strict: true } })),
    },
    {
      name: 'Jest 30, @swc/jest',
      run: () => jest('jest', 'imports.jest.ts', transform('@swc/jest', { module: { type: 'commonjs' } })),
    },
    {
      name: 'Vitest',
      async run() {
        writeFileSync(
          join(project.path, 'vitest.config.mjs'),
          "export default { test: { include: ['mesh.vitest.mjs'], hookTimeout: 30_000 } }\n",
        )
        await project.node(['node_modules/vitest/vitest.mjs', 'run'])
      },
    },
    { name: 'node:test', run: () => project.node(['--test', 'mesh.node-test.js']) },
    {
      name: 'Mocha',
      run: () => project.node(['node_modules/mocha/bin/mocha.js', '--timeout', '30000', 'mesh.mocha.js']),
    },
  ]
  return { cells }
}
