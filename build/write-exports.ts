/**
 * `npm run exports`: gives each module in `exports` its conditions. A new way in is one line,
 * `"./name": { "default": "./dist/room/index.js" }`.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { conditionsOf, ENTRIES } from './entries.ts'

const FILE = join(import.meta.dirname, '../package.json')
const manifest = JSON.parse(readFileSync(FILE, 'utf8'))
for (const { path, file } of ENTRIES) manifest.exports[path] = conditionsOf(file)
// For TypeScript's node10, which knows no `exports`.
const below = ENTRIES.filter(({ path }) => path !== '.')
manifest.typesVersions['*'] = Object.fromEntries(
  below.map(({ path, file }) => [path.replace('./', ''), [`./dist/${file}.d.ts`]]),
)
writeFileSync(FILE, `${JSON.stringify(manifest, null, 2)}\n`)
