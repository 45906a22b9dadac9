/** The visitor's camera and microphone. */

/** Width and height by name. */
export const SIZES = { '640x480': [640, 480], '1280x720': [1280, 720] };

/** In place of an id: the usual microphone. Browsers tell the others only once one has been allowed. */
export const USUAL = 'default';

/** A track of the camera with this id and of no other ('' for the usual one), as near to the size as it can. */
export async function openCamera(deviceId, size) {
  const [width, height] = SIZES[size];
  const wish = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30, max: 30 } };
  const track = await open('video', deviceId, wish, { facingMode: 'user' });
  track.contentHint = 'motion';
  return track;
}

/** A track of the microphone with this id and of no other, or of the USUAL one. */
export function openMicrophone(deviceId) {
  return open('audio', deviceId === USUAL ? '' : deviceId, {}, {});
}

/** open(deviceId), or the usual device where that one is gone: for a start, never for what is on air already. */
export async function orUsual(open, deviceId) {
  try {
    return await open(deviceId);
  } catch (error) {
    if (error.name !== 'OverconstrainedError') throw error;
    return open('');
  }
}

async function open(kind, deviceId, wish, otherwise) {
  if (!isSecureContext || !navigator.mediaDevices) throw Object.assign(new Error(), { name: 'InsecureError' });
  const constraints = deviceId ? { ...wish, deviceId: { exact: deviceId } } : { ...wish, ...otherwise };
  const stream = await navigator.mediaDevices.getUserMedia({ [kind]: constraints });
  return stream.getTracks()[0];
}

/** Cameras and microphones as [{kind, id, name}]; until one of a kind has been allowed, the usual one without id. */
export async function devices() {
  const found = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const counts = {};
  return found
    .filter((device) => device.deviceId !== USUAL && device.deviceId !== 'communications')
    .filter((device) => device.kind !== 'audiooutput')
    .map((device) => {
      const kind = device.kind === 'videoinput' ? 'camera' : 'microphone';
      counts[kind] = (counts[kind] ?? 0) + 1;
      return { kind, id: device.deviceId, name: device.label || `${kind === 'camera' ? 'Camera' : 'Microphone'} ${counts[kind]}` };
    });
}
