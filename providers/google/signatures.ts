/**
 * What Gemini 3 takes in place of the signature of a call it did not make: base64 of
 * `skip_thought_signature_validator` (https://ai.google.dev/gemini-api/docs/thought-signatures).
 */
export const SKIP_VALIDATION = 'c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I='

/*
 * Several providers sign reasoning, and a history may hold the reasoning of another one:
 * sending its signature here is an error. So ours carry a mark. Calls and text are signed
 * by Google alone and need none.
 */
const MARK = 'google:'

export function markReasoning(signature: string): string {
  return MARK + signature
}

/** The signature as Google gave it; absent for one that is not Google's. */
export function unmarkReasoning(signature: string | undefined): string | undefined {
  return signature?.startsWith(MARK) ? signature.slice(MARK.length) : undefined
}
