import { run } from './cli/program.ts'

// A reader that has seen enough, such as `head`, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

// Notes that nobody can read must not end a server.
process.stderr.on('error', () => {})

process.exitCode = await run(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  now: Date.now,
  exitOnInterrupt: (code) => void process.once('SIGINT', () => process.exit(code)),
})
