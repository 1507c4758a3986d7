/** What checks the commands of pages finds mistakes, and says where they are. */
import { expect, it } from 'vitest'
import { mistakeIn, unknownIn, usagesIn } from './usages.ts'

it('finds uses of the command in shell text', () => {
  const text = `INMESH_REGISTRY=https://a:1 npx inmesh status \\
  --json | grep inmesh
old=$(inmesh token operator list) # inmesh nothing
sudo -u inmesh inmesh restore "$file" $flags
until inmesh ca status; do sleep 1; done
`
  expect(usagesIn(text)).toEqual([
    { args: ['status', '--json'], line: 0 },
    { args: ['token', 'operator', 'list'], line: 2 },
    { args: ['restore', '$file'], line: 3 },
    { args: ['ca', 'status'], line: 4 },
  ])
})

it('knows commands, arguments and flags without running them', () => {
  expect(mistakeIn(['token', 'create', '--service', 'checkout', '--ttl', '10m'])).toBeUndefined()
  expect(mistakeIn(['tocken', 'create'])).toContain('tocken')
  expect(mistakeIn(['token', 'create', '--service', 'checkout', '--tll', '10m'])).toContain('--tll')
  expect(mistakeIn(['restore'])).toContain('file')
  expect(unknownIn(['registry', '--store'])).toBeUndefined()
  expect(unknownIn(['registry', '--stor'])).toBe('there is no flag --stor')
})
