/** The viewers' page: plays /whep/{stream}, and waits for it when it is not there. */

import { bytesIn, framesIn, Pulse } from './figures.js';
import { Link } from './link.js';
import { $, hideNotice, keepShape, kept, offerFullScreen, showNotice, showState, takeTokens, waitWords } from './notice.js';
import { Peer } from './peer.js';
import { relayProblem } from './words.js';

const SILENT_MS = 6_000;
const PAUSED_MS = 3_000;
const MOST_WAIT_S = 3;

const tab = kept('sessionStorage');
const name = decodeURIComponent(location.pathname.split('/').pop());
let link = null;
let wasLive = false;

function start() {
  link?.stop();
  link = new Link(open, follow, MOST_WAIT_S);
}

async function open(signal) {
  const base = new URL('..', document.baseURI);
  const peer = await Peer.at(new URL(`whep/${encodeURIComponent(name)}`, base), base, tab.get('view', ''), signal);
  const stream = new MediaStream();
  peer.pc.addTransceiver('video', { direction: 'recvonly' });
  peer.pc.addTransceiver('audio', { direction: 'recvonly' });
  peer.pc.addEventListener('track', ({ track }) => {
    stream.addTrack(track);
    // An offered track that the relay does not send stays muted.
    if (track.kind === 'audio') track.addEventListener('unmute', () => ($('sound').hidden = false));
  });
  await peer.open(signal);
  // The last picture stays until the next one comes.
  peer.lost.then(() => $('result').pause());
  $('sound').hidden = !stream.getAudioTracks().some((track) => !track.muted);
  $('result').srcObject = stream;
  play();
  const pictures = new Pulse(PAUSED_MS);
  // Without pictures, or without sound, the connection still lives: the relay's reports come each second.
  peer.watch(bytesIn, SILENT_MS, (report) => showPaused(pictures.stands(framesIn(report))));
  return peer;
}

/** Start the picture, or offer a button where the browser wants a click first. */
async function play() {
  try {
    await $('result').play();
  } catch (error) {
    if (error.name !== 'NotAllowedError') return;
    const go = ['Play', () => (hideNotice(), $('result').play())];
    showNotice({ title: 'Ready to play', text: 'The browser wants a click before it plays.', actions: [go] });
  }
}

/** Whether no new pictures come, while the last one stays. */
function showPaused(paused) {
  const words = paused && document.body.dataset.state === 'live' ? 'The picture is paused. It goes on by itself.' : '';
  // A live region: touched only where it changes.
  if ($('paused').textContent !== words) $('paused').textContent = words;
}

function follow(state) {
  if (state.is === 'live') {
    wasLive = true;
    showState('live', 'Live');
    hideNotice();
  } else if (state.is === 'connecting' && document.body.dataset.state !== 'waiting') {
    showState('connecting', 'Connecting…');
    showNotice({ title: 'Connecting to the relay', text: 'This takes a moment.' });
  } else if (state.is === 'waiting') {
    const words = wasLive ? 'Reconnecting…' : 'Waiting…';
    showState('waiting', state.problem.status === 404 ? 'Not live yet' : words);
    showNotice({ ...relayProblem(state.problem), wait: waitWords(state.inS), actions: [['Try now', () => link.retry()]] });
  } else if (state.is === 'refused') {
    showState('problem', 'Not connected');
    showNotice(refusal(state.problem));
  }
  $('full').disabled = state.is !== 'live';
  showPaused(false);
}

function refusal(problem) {
  const words = relayProblem(problem, tab.get('view', ''));
  const onToken = (token) => (tab.set('view', token), start());
  return words.wantsToken ? { ...words, onToken } : { ...words, actions: [['Try again', start]] };
}

function toggleSound() {
  const on = $('result').muted;
  $('result').muted = !on;
  $('sound').setAttribute('aria-pressed', on);
  $('sound-text').textContent = on ? 'Turn sound off' : 'Turn sound on';
}

takeTokens(tab);
$('sound').addEventListener('click', toggleSound);
offerFullScreen($('full'), $('stage'), $('result'));
keepShape($('stage'), $('result'));
addEventListener('pagehide', () => link.stop());
addEventListener('pageshow', (event) => event.persisted && start());
start();
