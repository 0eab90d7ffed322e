import type { Transporter } from 'nodemailer'
import { GatewayError } from '#errors'
import type { Outcome } from './deliver.ts'

export interface Mail {
  /** `mailto:` and one address. */
  readonly url: string
  /** The same at every attempt, so that a mailbox can tell a repetition. */
  readonly id: string
  readonly subject: string
  readonly text: string
}

export interface Mailer {
  /** Sends once; whatever is wrong, it says so and does not throw. */
  readonly send: (mail: Mail) => Promise<Outcome>
  readonly close: () => void
}

const CONNECT_MS = 10_000
const SILENCE_MS = 10_000

/** One address as it is, without a name, a list or the headers that a mailto URL can carry. */
const ADDRESS = /^mailto:([\w.!#$%&'*+/=^`{|}~-]{1,64}@[a-z0-9-]+(?:\.[a-z0-9-]+)*)$/i

/**
 * @param smtpUrl `smtp://user:password@host:port`, or `smtps://` for TLS from the start. A
 *   password goes out over TLS only, but on this machine.
 * @param from who mails are from
 */
export function createMailer(smtpUrl: string, from: string, tick: () => number): Mailer {
  const { protocol, hostname, port, username, password } = new URL(smtpUrl)
  const host = hostname.replace(/^\[|\]$/g, '')
  const isHere = /^(localhost|127(\.\d{1,3}){3}|::1)$/.test(host)
  const isSecure = protocol === 'smtps:'
  let transport: Promise<Transporter> | undefined

  /** Loaded when there is something to send. */
  async function open(): Promise<Transporter> {
    const { createTransport } = await import('nodemailer')
    return createTransport({
      host,
      port: port === '' ? (isSecure ? 465 : 587) : Number(port),
      secure: isSecure,
      requireTLS: username !== '' && !isHere,
      ...(username !== '' && {
        auth: { user: decodeURIComponent(username), pass: decodeURIComponent(password) },
      }),
      connectionTimeout: CONNECT_MS,
      greetingTimeout: CONNECT_MS,
      socketTimeout: SILENCE_MS,
      disableFileAccess: true,
      disableUrlAccess: true,
    })
  }

  return {
    async send({ url, id, subject, text }) {
      const started = tick()
      const took = (): number => Math.round(tick() - started)
      const [, to = ''] = ADDRESS.exec(url) ?? []
      try {
        const { sendMail } = await (transport ??= open()).then((opened) => ({
          sendMail: opened.sendMail.bind(opened),
        }))
        await sendMail({ from, to, subject, text, messageId: `<${id}@tollgate>` })
        return { ok: true, status: 250, durationMs: took() }
      } catch (error) {
        const status = statusOf(error)
        return {
          ok: false,
          ...(status !== undefined && { status }),
          // Its own words may name hosts and accounts.
          error:
            status === undefined
              ? 'The mail server could not be reached'
              : `The mail server answered ${status}`,
          durationMs: took(),
        }
      }
    },
    close: () => void transport?.then((opened) => opened.close()),
  }
}

function statusOf(error: unknown): number | undefined {
  const code = error instanceof Error && 'responseCode' in error ? error.responseCode : undefined
  return typeof code === 'number' ? code : undefined
}

export function isMail(url: string): boolean {
  return /^mailto:/i.test(url)
}

/** @throws GatewayError `invalid_value` for what is not `mailto:` and one address */
export function checkMailUrl(url: string): void {
  if (ADDRESS.test(url)) return
  throw new GatewayError('invalid_value', 'A mail goes to one address: mailto:ops@example.com', {
    param: 'url',
  })
}
