/** Figures of a connection, from what its statistics gained since the last look. */

/** Times of the frames of one video from their last packet's arrival to the screen, in ms. */
export class Playout {
  #times = [];

  constructor(video) {
    if (!video.requestVideoFrameCallback) return;
    const seen = (now, frame) => {
      if (frame.receiveTime) this.#times.push(frame.expectedDisplayTime - frame.receiveTime);
      video.requestVideoFrameCallback(seen);
    };
    video.requestVideoFrameCallback(seen);
  }

  /** The median since the last call, or null where the browser does not tell. */
  take() {
    const times = this.#times.splice(0).sort((a, b) => a - b);
    return times.length ? times[times.length >> 1] : null;
  }
}

/** Turns reports of getStats (arrays) into figures. */
export class Figures {
  #before = {};

  /**
   * fps: frames decoded a second. sentKbps, receivedKbps. encodeMs: a frame's coding and its packets' wait to be
   * sent. networkMs: there and back. playoutMs: a frame's wait for its turn and its decoding. null where unknown.
   */
  take(report) {
    const out = report.find((part) => part.type === 'outbound-rtp' && part.kind === 'video') ?? {};
    const into = report.find((part) => part.type === 'inbound-rtp' && part.kind === 'video') ?? {};
    const [sent, received] = [this.#gained('out', out), this.#gained('in', into)];
    return {
      fps: rate(received('framesDecoded'), received('timestamp') / 1e3),
      sentKbps: rate(sent('bytesSent') * 8e-3, sent('timestamp') / 1e3),
      receivedKbps: rate(received('bytesReceived') * 8e-3, received('timestamp') / 1e3),
      encodeMs: plus(
        rate(sent('totalEncodeTime') * 1e3, sent('framesEncoded')),
        rate(sent('totalPacketSendDelay') * 1e3, sent('packetsSent')),
      ),
      networkMs: roundTripMs(report),
      playoutMs: rate(received('totalProcessingDelay') * 1e3, received('framesDecoded')),
    };
  }

  #gained(name, now) {
    const before = (this.#before[name]?.id === now.id && this.#before[name]) || {};
    this.#before[name] = now;
    return (field) => now[field] - before[field];
  }
}

/** Whether a count that should grow has stood still for stillMs. */
export class Pulse {
  #count = -1;
  #grewAt = 0;
  #stillMs;

  constructor(stillMs) {
    this.#stillMs = stillMs;
  }

  stands(count) {
    const now = performance.now();
    if (count > this.#count) [this.#count, this.#grewAt] = [count, now];
    return now - this.#grewAt > this.#stillMs;
  }
}

/** Bytes that came over the connection, of whatever kind: its sign of life. */
export function bytesIn(report) {
  const counts = report.filter((part) => part.type === 'transport' || part.type === 'candidate-pair');
  return Math.max(0, ...counts.map((part) => part.bytesReceived ?? 0));
}

/** Frames of video that came. */
export function framesIn(report) {
  return report.find((part) => part.type === 'inbound-rtp' && part.kind === 'video')?.framesReceived ?? 0;
}

function rate(gained, over) {
  return over > 0 && Number.isFinite(gained) ? gained / over : null;
}

/** The second part is one that not every browser tells. */
function plus(part, more) {
  return part === null ? null : part + (more ?? 0);
}

function roundTripMs(report) {
  const chosen = report.find((part) => part.type === 'transport')?.selectedCandidatePairId;
  const pairs = report.filter((part) => part.type === 'candidate-pair');
  // More than one may be nominated, of which one is in use.
  const pair = pairs.find((part) => part.id === chosen) ?? pairs.find((part) => part.nominated);
  const heard = report.find((part) => part.type === 'remote-inbound-rtp' && part.kind === 'video');
  const seconds = pair?.currentRoundTripTime ?? heard?.roundTripTime;  // Firefox tells the second only
  return seconds === undefined ? null : seconds * 1e3;
}
