/** The scripts of `inmesh completion`, in the shells themselves. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildProgram } from '../../../src/cli/program.ts'
import { run } from '../run-command.ts'

const folder = mkdtempSync(join(tmpdir(), 'inmesh-completion-'))
const SHELLS = ['bash', 'zsh', 'fish'] as const
const has = (shell: string): boolean => spawnSync(shell, ['--version']).status === 0

beforeAll(async () => {
  writeFileSync(join(folder, 'policies.yaml'), '')
  for (const shell of SHELLS) {
    const { code, stdout } = await run(['completion', shell])
    expect(code).toBe(0)
    writeFileSync(join(folder, `inmesh.${shell}`), stdout)
  }
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What bash offers for the last word of each line. */
function bashAll(lines: readonly (readonly string[])[]): string[][] {
  const ask = (words: readonly string[]): string =>
    `COMP_WORDS=(inmesh ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}; _inmesh; printf '%s ' "\${COMPREPLY[@]}"; echo`
  const script = ['source inmesh.bash', ...lines.map(ask)].join('\n')
  const output = execFileSync('bash', ['-c', script], { cwd: folder, encoding: 'utf8' })
  return output
    .split('\n')
    .slice(0, -1)
    .map((line) => line.split(' ').filter(Boolean))
}

const bash = (...words: string[]): string[] => bashAll([words])[0]!

/** What zsh offers, by stand-ins for the functions of its completion system. */
function zsh(...words: string[]): string[] {
  const script = `compdef() {}; source ./inmesh.zsh
_describe() { print -l -- "\${(@P)\${@[-1]}%%:*}" }; compadd() { shift; print -l -- "$@" }; _files() { print files }
_message() {}; words=(inmesh "$@"); CURRENT=\${#words}; PREFIX=\${words[-1]}; _inmesh`
  const output = execFileSync('zsh', ['-f', '-c', script, 'zsh', ...words], { cwd: folder, encoding: 'utf8' })
  return output.split('\n').filter(Boolean)
}

function fish(line: string): string[] {
  const script = `source inmesh.fish; complete -C ${JSON.stringify(line)}`
  const output = execFileSync('fish', ['--no-config', '-c', script], { cwd: folder, encoding: 'utf8' })
  return output
    .split('\n')
    .filter(Boolean)
    .map((found) => found.split('\t')[0]!)
}

describe.runIf(has('bash'))('bash', () => {
  it('is told by `complete` which function completes', () => {
    const output = execFileSync('bash', ['-c', 'source inmesh.bash; complete -p inmesh'], {
      cwd: folder,
      encoding: 'utf8',
    })
    expect(output).toContain('-F _inmesh inmesh')
  })

  it('offers every command that there is', () => {
    const silent = { write: () => true }
    const program = buildProgram({ stdout: silent, stderr: silent, stdin: (async function* () {})(), env: {} })
    const names = program.commands.map((command) => command.name())
    expect(bash('')).toEqual(expect.arrayContaining(names))
    const offered = bashAll(names.map((name) => [name, '-']))
    for (const [i, command] of program.commands.entries()) {
      const flags = command.options.map(({ long }) => long)
      expect(offered[i], command.name()).toEqual(expect.arrayContaining([...flags, '--help']))
    }
  })

  it('completes commands of commands, and flags behind them', () => {
    expect(bash('to')).toEqual(['token', 'top'])
    expect(bash('token', 'operator', 'cr')).toEqual(['create'])
    expect(bash('token', 'create', '--se')).toEqual(['--service'])
  })

  it('offers the words of a flag that has some, files for one that takes a file, and nothing for text', () => {
    expect(bash('registry', '--log-level', '')).toEqual(['info', 'silent'])
    expect(bash('apply', '-f', 'pol')).toEqual(['policies.yaml'])
    expect(bash('token', 'create', '--service', '')).toEqual([])
    expect(bash('completion', '')).toEqual([...SHELLS])
  })

  it('takes the value of a flag for no command', () => {
    expect(bash('--registry', 'x', 'tok')).toEqual(['token'])
    expect(bash('stat', '--token', 'operator', '--win')).toEqual(['--window'])
  })
})

describe.runIf(has('fish'))('fish', () => {
  it('completes commands, flags and their values', () => {
    expect(fish('inmesh to')).toEqual(['token', 'top'])
    expect(fish('inmesh token operator cr')).toEqual(['create'])
    expect(fish('inmesh token create --serv')).toEqual(['--service'])
    expect(fish('inmesh registry --log-level ')).toEqual(['info', 'silent'])
  })
})

describe.runIf(has('zsh'))('zsh', () => {
  it('completes commands, flags and their values', () => {
    expect(zsh('token', 'operator', '')).toEqual(['create', 'list', 'revoke', 'rotate', 'help'])
    expect(zsh('token', 'create', '--')).toContain('--service')
    expect(zsh('registry', '--log-level', '')).toEqual(['info', 'silent'])
    expect(zsh('apply', '-f', '')).toEqual(['files'])
    expect(zsh('--registry', 'x', 'token', 'operator', 'create', '-')).toContain('--read-only')
  })
})

it('refuses another shell, and says which there are', async () => {
  expect(await run(['completion', 'tcsh'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('bash, zsh, fish'),
  })
})
