/** Signalling: WHIP (RFC 9725) and WHEP, one HTTP exchange each way. */

const ANSWER_WITHIN_MS = 15_000;
const END_WITHIN_MS = 3_000;

/** The relay said no, or (status 0) nothing. retryAfterS: how long it asks to wait, or null. */
export class Refused extends Error {
  name = 'Refused';

  constructor(status, message, retryAfterS = null) {
    super(message);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }

  /** Whether it can be otherwise a while later, with nothing changed here. */
  get passes() {
    return [0, 404, 408, 409, 429].includes(this.status) || this.status >= 500;
  }
}

/** The ICE servers that the relay names, as RTCPeerConnection takes them; mostly none. Throws Refused. */
export async function iceServers(base, token, signal) {
  const answer = await request(new URL('ice', base), { token, signal });
  if (!answer.ok) throw await refusal(answer);
  return (await answer.json()).iceServers;
}

/** Send an offer; {sdp, session} is the answer and the URL that ends it. Throws Refused. */
export async function exchange(url, offer, token, signal) {
  const answer = await request(url, { method: 'POST', body: offer, token, signal });
  if (answer.status !== 201) throw await refusal(answer);
  const place = answer.headers.get('Location');
  return { sdp: await answer.text(), session: place ? new URL(place, answer.url).href : null };
}

/** End a session. Goes out even while the page is being left, and never throws; null: the relay did not answer. */
export function end(session, token) {
  const signal = within(END_WITHIN_MS);
  return fetch(session, { method: 'DELETE', headers: authorised(token), keepalive: true, signal }).catch(() => null);
}

/** A signal that aborts after some time, or with another one. Browsers in use lack AbortSignal.any and .timeout. */
export function within(ms, other = null) {
  const limit = new AbortController();
  const abort = () => limit.abort();
  setTimeout(abort, ms);
  other?.addEventListener('abort', abort, { signal: limit.signal });
  if (other?.aborted) abort();
  return limit.signal;
}

/** Throw what a signal was aborted with, if it was. */
export function stopIf(signal) {
  if (signal.aborted) throw signal.reason ?? new Error('stopped');
}

async function request(url, { token, signal, ...rest }) {
  const headers = authorised(token);
  if (rest.body) headers['Content-Type'] = 'application/sdp';
  try {
    return await fetch(url, { ...rest, headers, signal: within(ANSWER_WITHIN_MS, signal), cache: 'no-store' });
  } catch (error) {
    stopIf(signal);
    throw new Refused(0, error.message);
  }
}

async function refusal(answer) {
  const wait = Number.parseFloat(answer.headers.get('Retry-After'));
  return new Refused(answer.status, await answer.text(), Number.isFinite(wait) ? wait : null);
}

function authorised(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}
