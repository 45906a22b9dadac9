/** Keeps the screen on: a phone that locks itself takes the camera away. */

let wanted = false;
let lock = null;

/** Keep the screen on from now on, or no longer. */
export function stayAwake(on) {
  if (on === wanted) return;
  wanted = on;
  if (on) take();
  else lock?.release();
}

/** The browser gives the lock only to a page that is seen, and takes it back when it no longer is. */
async function take() {
  if (!wanted || document.visibilityState !== 'visible') return;
  // A browser that has no such lock, or none while the battery is low, goes by its own ideas.
  lock = await navigator.wakeLock?.request('screen').catch(() => null);
  if (!wanted) lock?.release();
}

document.addEventListener('visibilitychange', take);
