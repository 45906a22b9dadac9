/** Keeps a connection: opens it, waits until it is lost, waits a little longer each time, opens it again. */

const WAITS_S = [0.5, 1, 2, 4, 8];
const STEADY_MS = 5_000;

/**
 * open(signal) gives an open Peer or throws. tell(state) hears of {is: 'connecting', again}, {is: 'live', again},
 * {is: 'waiting', problem, inS} (with a new inS each second) and {is: 'refused', problem}, which ends it.
 */
export class Link {
  #over = new AbortController();
  #skip = () => {};
  #open;
  #tell;
  #mostWaitS;

  constructor(open, tell, mostWaitS = 8) {
    this.#open = open;
    this.#tell = (state) => this.#over.signal.aborted || tell(state);
    this.#mostWaitS = mostWaitS;
    addEventListener('online', () => this.retry(), { signal: this.#over.signal });
    this.#run();
  }

  /** Do not wait any longer for the next try. */
  retry() {
    this.#skip();
  }

  /** End the connection and never open it again. */
  stop() {
    this.#over.abort();
    this.#skip();
  }

  async #run() {
    const { signal } = this.#over;
    let again = false;
    for (let tries = 0; !signal.aborted; tries++) {
      this.#tell({ is: 'connecting', again });
      const since = performance.now();
      const problem = await this.#once(again, () => (again = true));
      if (signal.aborted) return;
      if (performance.now() - since > STEADY_MS && problem.name === 'Lost') tries = 0;
      if (problem.passes === false) return this.#tell({ is: 'refused', problem });
      await this.#wait(problem, tries);
    }
  }

  /** One connection from its opening to its end, which is what it gives back. */
  async #once(again, onLive) {
    const { signal } = this.#over;
    let peer = null;
    try {
      peer = await this.#open(signal);
      onLive();
      this.#tell({ is: 'live', again });
      return await Promise.race([peer.lost, aborted(signal)]);
    } catch (error) {
      return error;
    } finally {
      peer?.close();
    }
  }

  async #wait(problem, tries) {
    const backOff = Math.min(WAITS_S[tries] ?? Infinity, this.#mostWaitS);
    const until = performance.now() + 1000 * (problem.retryAfterS ?? backOff * (0.8 + 0.4 * Math.random()));
    for (let skipped = false; !skipped && performance.now() < until; ) {
      const leftMs = until - performance.now();
      this.#tell({ is: 'waiting', problem, inS: Math.ceil(leftMs / 1000) });
      skipped = await new Promise((resolve) => {
        this.#skip = () => resolve(true);
        setTimeout(resolve, Math.min(leftMs, 1000), false);
      });
    }
  }
}

function aborted(signal) {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', resolve, { once: true });
  });
}
