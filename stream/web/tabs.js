/** One live tab of a browser at a time, unless the visitor wants two. */

import { within } from './signal.js';

const NAME = 'vretouch.live';
const REPLY_WITHIN_MS = 1_000;
const FREE_WITHIN_MS = 3_000;

/** Missing, as locks are, in browsers that are still in use. */
const calls = window.BroadcastChannel ? new BroadcastChannel(NAME) : null;

/**
 * Be the live tab: gives what lets go of that, or null while another one is. onMove(): another tab asks for it; what
 * it returns is passed on. patient: wait a little for the other tab to let go.
 */
export async function claim(onMove, patient) {
  if (!navigator.locks || !calls) return () => {};
  const way = patient ? { signal: within(FREE_WITHIN_MS) } : { ifAvailable: true };
  return new Promise((resolve) => {
    const hold = (lock) => {
      if (!lock) return resolve(null);
      const answer = ({ data }) => data === 'move' && calls.postMessage({ stream: onMove() });
      calls.addEventListener('message', answer);
      return new Promise((release) => resolve(release)).finally(() => calls.removeEventListener('message', answer));
    };
    navigator.locks.request(NAME, way, hold).catch(() => resolve(null));
  });
}

/** Ask the live tab to stop; gives its stream's name, or null if it does not answer. */
export function moveHere() {
  return new Promise((resolve) => {
    const reply = ({ data }) => data?.stream !== undefined && resolve(data.stream);
    calls.addEventListener('message', reply);
    calls.postMessage('move');
    setTimeout(() => (calls.removeEventListener('message', reply), resolve(null)), REPLY_WITHIN_MS);
  });
}
