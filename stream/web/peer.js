/** One peer connection with the relay: opened by an HTTP exchange, watched for signs of life, closed. */

import { end, exchange, iceServers, stopIf } from './signal.js';

const GATHER_WITHIN_MS = 2_000;
const CONNECT_WITHIN_MS = 12_000;
const TICK_MS = 1_000;

/** A connection that was there is gone; message: silent, closed, failed or blocked. */
export class Lost extends Error {
  name = 'Lost';
}

/** See the module. Make it, add what it carries to `pc`, then open it. */
export class Peer {
  #session = null;
  #closing = null;
  #token;
  #ticking;
  #lose;

  /** A peer for the endpoint at url, with the ICE servers that the relay at base names. */
  static async at(url, base, token, signal) {
    return new Peer(url, token, await iceServers(base, token, signal));
  }

  constructor(url, token, servers) {
    this.url = url;
    this.#token = token;
    this.pc = new RTCPeerConnection({ iceServers: servers, bundlePolicy: 'max-bundle' });
    /** Settles, with a Lost, when the connection is gone. */
    this.lost = new Promise((resolve) => {
      this.#lose = (why) => {
        if (why === 'closed') this.#session = null;
        resolve(new Lost(why));
      };
    });
  }

  /** The URL that ends the session at the relay, which only this page knows; null while there is none. */
  get session() {
    return this.#session;
  }

  /**
   * Exchange offer and answer and wait until media can flow. startKbps: what to send at first, where the browser
   * heeds it. Throws Refused, Lost, or the signal's reason.
   */
  async open(signal, startKbps = 0) {
    try {
      const offer = await this.pc.createOffer();
      await this.pc.setLocalDescription({ type: 'offer', sdp: inStereo(offer.sdp) });
      await this.#until('icegatheringstatechange', () => this.pc.iceGatheringState === 'complete', GATHER_WITHIN_MS, signal);
      const { sdp, session } = await exchange(this.url, this.pc.localDescription.sdp, this.#token, signal);
      this.#session = session;
      await this.pc.setRemoteDescription({ type: 'answer', sdp: startKbps ? beginAt(sdp, startKbps) : sdp });
      const settled = () => ['connected', 'failed', 'closed'].includes(this.pc.connectionState);
      await this.#until('connectionstatechange', settled, CONNECT_WITHIN_MS, signal);
      if (this.pc.connectionState !== 'connected') throw new Lost('blocked');
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * Look at the connection's statistics each second. signOf(report) is a number that grows while the other
   * side lives; when it stands still for silentMs the connection counts as lost.
   */
  watch(signOf, silentMs, onReport) {
    let sign = -1;
    let grewAt = performance.now();
    this.pc.addEventListener('connectionstatechange', () => {
      if (['failed', 'closed'].includes(this.pc.connectionState)) this.#lose(this.pc.connectionState);
    });
    // The relay says goodbye on the transport that all media share.
    const { transport } = this.pc.getReceivers()[0];
    transport.addEventListener('statechange', () => transport.state === 'closed' && this.ended());
    this.#ticking = setInterval(async () => {
      const report = [...(await this.pc.getStats()).values()];
      const now = performance.now();
      const seen = signOf(report);
      if (seen > sign) [sign, grewAt] = [seen, now];
      else if (now - grewAt > silentMs) this.#lose('silent');
      onReport(report);
    }, TICK_MS);
  }

  /** The other side has said that it ends this. */
  ended() {
    this.#lose('closed');
  }

  /** Tell the relay, and close. May be called twice. */
  close() {
    clearInterval(this.#ticking);
    // In this order, or the relay would no longer know the session that it is asked to end.
    this.#closing ??= this.leave().then(() => this.pc.close());
  }

  /** End the session at the relay, unless that is done. */
  async leave() {
    if (this.#session && (await end(this.#session, this.#token))) this.#session = null;
  }

  /** Wait for an event of pc that makes done() true, or for the time to pass. */
  async #until(event, done, withinMs, signal) {
    stopIf(signal);
    if (done()) return;
    await new Promise((resolve, reject) => {
      const over = new AbortController();
      const finish = (settle, value) => (over.abort(), clearTimeout(timer), settle(value));
      const timer = setTimeout(() => finish(resolve), withinMs);
      this.pc.addEventListener(event, () => done() && finish(resolve), { signal: over.signal });
      signal.addEventListener('abort', () => finish(reject, signal.reason), { signal: over.signal });
    });
  }
}

/** Chromium begins at 300 kbit/s and needs half a minute to a good picture, unless the answer's formats say more. */
function beginAt(sdp, kbps) {
  return describe(sdp, /^a=rtpmap:(\d+) (?:VP8|H264)\/90000/gm, `x-google-start-bitrate=${kbps}`);
}

/** Chromium and Safari play stereo as mono, unless their own offer says that they like it (RFC 7587, section 6.1). */
function inStereo(sdp) {
  return describe(sdp, /^a=rtpmap:(\d+) opus\/48000/gm, 'stereo=1');
}

/** Add a parameter to the formats whose numbers `named` finds, where they do not have it. */
function describe(sdp, named, parameter) {
  const formats = [...sdp.matchAll(named)].map(([, format]) => format);
  return formats.reduce((text, format) => {
    const [line, known] = text.match(new RegExp(`^a=fmtp:${format} (.*)$`, 'm')) ?? [];
    if (!line) return text.replace(new RegExp(`^a=rtpmap:${format} .*$`, 'm'), `$&\r\na=fmtp:${format} ${parameter}`);
    return known.split(';').includes(parameter) ? text : text.replace(line, () => `a=fmtp:${format} ${parameter};${known}`);
  }, sdp);
}
