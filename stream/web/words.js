/** What the page says: one clear sentence for each thing that can go wrong, and figures in plain words. */

/** A picture or sound device that did not open, as {title, text}; error is what getUserMedia threw. */
export function deviceProblem(error, device) {
  switch (error.name) {
    case 'InsecureError':
      return {
        title: 'This address is not secure enough for a camera',
        text: `Browsers open cameras only to https addresses and to this computer itself. Open the page there as
          http://localhost${location.port && `:${location.port}`}/, or ask whoever runs the relay to start it with TLS.`,
      };
    case 'NotAllowedError':
    case 'SecurityError':
      return /system/i.test(error.message)
        ? {
            title: `The ${device} is blocked by the system`,
            text: `Allow the browser to use the ${device} in the privacy settings of this device, then try again.`,
          }
        : {
            title: `The ${device} was not allowed`,
            text: `Press the symbol beside the address of this page, allow the ${device}, then try again.`,
          };
    case 'NotFoundError':
      return { title: `No ${device} was found`, text: 'Plug one in or switch it on, then try again.' };
    case 'OverconstrainedError':
      return { title: `The ${device} was not found`, text: 'Plug it in or switch it on, then try again.' };
    case 'NotReadableError':
    case 'AbortError':
      return {
        title: `The ${device} is in use`,
        text: `Another program holds the ${device}, or a key or cover switches it off. Close that program, then try again.`,
      };
    default:
      return { title: `The ${device} did not open`, text: `The browser says: ${error.message || error.name}.` };
  }
}

/** A camera that was live and no longer gives pictures. */
export const CAMERA_ENDED = {
  title: 'The camera has stopped',
  text: 'It was unplugged, taken by another program, or is no longer allowed. The picture goes on once it is back.',
};
export const CAMERA_MUTED = {
  title: 'The camera gives no picture',
  text: 'A key, a cover or the system may hold it back. The picture goes on as soon as the camera does.',
};

/** What stands between this page and the relay, as {title, text, wantsToken?}; see Refused and Lost. token: what was shown. */
export function relayProblem(error, token = '') {
  if (error.name === 'Lost') {
    const why = error.message === 'blocked' && isHere() ? 'blockedHere' : error.message;
    return { title: 'The connection was lost', text: LOST[why] ?? LOST.silent };
  }
  switch (error.status) {
    case 0:
      return {
        title: 'The relay cannot be reached',
        text: 'It may be starting anew, or the network is away. This page goes on by itself as soon as the relay answers.',
      };
    case 401:
      return {
        title: token ? 'The token is not the right one' : 'The relay asks for a token',
        text: 'Enter the one you were given. It stays in this tab.',
        wantsToken: true,
      };
    case 404:
      return {
        title: 'This stream is not live',
        text: 'Nobody is sending it at the moment. It starts here by itself as soon as it is there.',
      };
    case 406:
      return {
        title: 'This browser lacks the codec',
        text: `The video is H.264, which this browser does not have. Firefox fetches it by itself soon after its first
          start: try again then, or take another browser.`,
      };
    case 409:
      return {
        title: 'The stream is still in use',
        text: `The relay takes up to half a minute to let go of its former connection. The stream then goes on at the
          same viewer link.`,
      };
    case 429:
      return { title: 'Too many tries', text: 'The relay asks for a little patience.' };
    case 503:
      return { title: 'The relay is full', text: 'All its places are taken. You get the next one that is free.' };
    case undefined:
      return { title: 'The connection did not come about', text: `The browser says: ${sentence(error.message)}` };
    default:
      return { title: 'The relay refused', text: sentence(error.message) || `It answered with the status ${error.status}.` };
  }
}

const LOST = {
  silent: 'Nothing has come from the relay for a while.',
  closed: 'The relay ended the connection.',
  failed: 'The network between this page and the relay has failed.',
  blocked: 'The relay answers, but pictures do not get through. A firewall may stand between; another network may help.',
  blockedHere: `The relay answers, but pictures do not get through. Even on this computer browsers need a network for them: join
    any Wi-Fi. If there is one, a firewall or an add-on of the browser may stand between.`,
};

/** Whether the relay is on this computer. */
function isHere() {
  return /^(localhost|127\..*|\[::1\])$/.test(location.hostname);
}

/** Text with a capital first and a full stop last. */
export function sentence(text) {
  const trimmed = text.trim();
  return trimmed && trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? '' : '.');
}

/** Whether the relay has given up retouching for want of time. */
export function isBusy(stats) {
  return stats.level_name === 'pass-through';
}

/** How hard the relay works on a frame, the step of its ladder: a word, and what it leaves out. */
export function effort(stats) {
  if (isBusy(stats)) return ['None', 'relay too busy'];
  return stats.level === 0 ? ['Full', ''] : ['Reduced', stats.level_name];
}

/** How many watch. */
export function viewersWords(count) {
  return count === 1 ? '1 viewer' : `${count} viewers`;
}
