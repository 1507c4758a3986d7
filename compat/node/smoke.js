/** The command and both ways to load, on the Node that runs this. */
const { execFileSync } = require('node:child_process')
const { dirname, join } = require('node:path')
const required = require('inmesh')

async function main() {
  const imported = await import('inmesh')
  if (imported.joinMesh !== required.joinMesh) throw new Error('two copies')
  const command = join(dirname(require.resolve('inmesh/package.json')), 'dist/cli/main.js')
  const version = execFileSync(process.execPath, [command, '--version'], { encoding: 'utf8' }).trim()
  if (version !== require('inmesh/package.json').version) throw new Error(`version ${version}`)
}

main()
