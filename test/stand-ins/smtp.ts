import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'

export interface MailServer {
  readonly port: number
  /** What came, headers and all. */
  readonly got: { readonly to: string; readonly user: string; readonly text: string }[]
  /** What it answers to the next mails' end, one each; then 250. */
  readonly answers: string[]
  close(): void
}

/** As much of SMTP as a client needs that logs in and sends. */
export async function openMailServer(): Promise<MailServer> {
  const got: { to: string; user: string; text: string }[] = []
  const answers: string[] = []
  const server = createServer((socket) => {
    const say = (line: string): void => void socket.write(`${line}\r\n`)
    let [buffer, to, user, text, isData] = ['', '', '', '', false]
    socket.on('error', () => undefined)
    say('220 stand-in')
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      buffer += chunk
      for (let end = buffer.indexOf('\r\n'); end >= 0; end = buffer.indexOf('\r\n')) {
        const line = buffer.slice(0, end)
        buffer = buffer.slice(end + 2)
        if (isData && line !== '.') text += `${line}\n`
        else if (isData) {
          const answer = answers.shift() ?? '250 taken'
          if (answer.startsWith('2')) got.push({ to, user, text })
          ;[text, isData] = ['', false]
          say(answer)
        } else if (/^EHLO/i.test(line)) socket.write('250-stand-in\r\n250 AUTH PLAIN\r\n')
        else if (/^AUTH PLAIN /i.test(line)) {
          user = Buffer.from(line.slice(11), 'base64').toString().replaceAll('\0', ' ').trim()
          say('235 welcome')
        } else if (/^RCPT TO:/i.test(line)) {
          to = line.slice(8)
          say('250 yes')
        } else if (/^DATA/i.test(line)) {
          isData = true
          say('354 go on')
        } else if (/^QUIT/i.test(line)) socket.end('221 bye\r\n')
        else say('250 yes')
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    got,
    answers,
    close: () => void server.close(),
  }
}
