const assert = require('node:assert/strict')
const { after, before, test } = require('node:test')
const { cases } = require('./mesh.cases.js')

const all = cases((actual, expected) => assert.deepEqual(actual, expected), assert.rejects)
before(all.before)
after(all.after)
for (const [name, run] of Object.entries(all)) if (name !== 'before' && name !== 'after') test(name, run)
