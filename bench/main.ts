/** All questions one after the other: `npm run bench -- [--quick] [--json]`. Each file also runs by itself, after `npm run build`. */
import { runQuestions } from './harness.ts'
import { httpClient } from './http-client.ts'
import { httpServer } from './http-server.ts'
import { registry } from './registry.ts'
import { startUp } from './start-up.ts'

await runQuestions([httpClient, httpServer, startUp, registry])
