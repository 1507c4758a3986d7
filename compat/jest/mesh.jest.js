const { cases } = require('./mesh.cases.js')

const all = cases(
  (actual, expected) => expect(actual).toStrictEqual(expected),
  (promise, Class) => expect(promise).rejects.toBeInstanceOf(Class),
)
jest.setTimeout(30_000)
beforeAll(all.before)
afterAll(all.after)
test.each(Object.keys(all).filter((name) => !['before', 'after'].includes(name)))('%s', (name) => all[name]())
