/* Put into pages under test: reads frame numbers and colours off a video as its frames are shown. */

window.violations = [];
addEventListener('securitypolicyviolation', (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));

/** The reports that the page has had of its newest connection, newest last; each is an array of {type, kind, ...}. */
window.reports = [];
const told = RTCPeerConnection.prototype.getStats;
RTCPeerConnection.prototype.getStats = async function () {
  const report = await told.call(this);
  if (window.connection !== this) window.reports = [];
  window.connection = this;
  window.reports.push([...report.values()]);
  return report;
};

/** Frames of video that the newest connection has sent and got back: {sent, back, atMs}. */
window.counts = async () => {
  const report = [...(await told.call(window.connection)).values()];
  const of = (type) => report.find((part) => part.type === type && part.kind === 'video') ?? {};
  return { sent: of('outbound-rtp').framesSent, back: of('inbound-rtp').framesDecoded, atMs: performance.now() };
};

/** MIME type of the video that the newest connection gets. */
window.codedAs = async () => {
  const report = await told.call(window.connection);
  const into = [...report.values()].find((part) => part.type === 'inbound-rtp' && part.kind === 'video');
  return report.get(into.codecId).mimeType;
};

/** A video's frames for some milliseconds: [{atMs, number, rgb}], rgb: the mean of a patch {x, y, side}. */
window.record = (video, forMs, bits, blockPx, barPx, patch) =>
  new Promise((resolve) => {
    const canvas = new OffscreenCanvas(2 * bits + 1, 1);
    const paper = canvas.getContext('2d', { willReadFrequently: true });
    const seen = [];
    const from = performance.now();
    const look = (now, frame) => {
      for (let block = 0; block < 2 * bits; block++) {
        paper.drawImage(video, (block + 0.25) * blockPx, barPx / 4, blockPx / 2, barPx / 2, block, 0, 1, 1);
      }
      paper.drawImage(video, patch.x - patch.side / 2, patch.y - patch.side / 2, patch.side, patch.side, 2 * bits, 0, 1, 1);
      const pixels = paper.getImageData(0, 0, 2 * bits + 1, 1).data;
      const read = Array.from({ length: 2 * bits }, (_, block) => (pixels[4 * block + 1] > 125 ? 1 : 0));
      const sound = read.slice(0, bits).every((bit, at) => bit !== read[bits + at]);
      const number = sound ? parseInt(read.slice(0, bits).join(''), 2) : null;
      seen.push({ atMs: frame.expectedDisplayTime, capturedMs: frame.captureTime ?? null, number, rgb: [...pixels.slice(8 * bits, 8 * bits + 3)] });
      if (now - from < forMs) video.requestVideoFrameCallback(look);
      else resolve(seen);
    };
    video.requestVideoFrameCallback(look);
    setTimeout(resolve, forMs + 3000, seen);
  });

/** The mean colour around each of some places of a video's present picture. */
window.colours = (video, places, side) => {
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  const paper = canvas.getContext('2d', { willReadFrequently: true });
  paper.drawImage(video, 0, 0);
  return places.map(([x, y]) => {
    const pixels = paper.getImageData(x - side / 2, y - side / 2, side, side).data;
    return [0, 1, 2].map((channel) => {
      let sum = 0;
      for (let at = channel; at < pixels.length; at += 4) sum += pixels[at];
      return sum / (side * side);
    });
  });
};

/** A video's present picture as PNG, base64. */
window.picture = (video) => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext('2d').drawImage(video, 0, 0);
  return canvas.toDataURL('image/png').split(',')[1];
};
