/** The page that publishes: the visitor's camera goes to the relay, and its retouched picture comes back. */

import { openCamera, openMicrophone } from './camera.js';
import { Control } from './control.js';
import { bytesIn, Figures, Playout } from './figures.js';
import { Link } from './link.js';
import { $, hideNotice, keepFocus, keepShape, kept, offerFullScreen, showNotice, showState, takeTokens, waitWords } from './notice.js';
import { clearFigures, listDevices, offerCopy, offered, SettingsPanel, showFigures, showViewerLink } from './panel.js';
import { Peer } from './peer.js';
import { end } from './signal.js';
import { claim, moveHere } from './tabs.js';
import { deviceProblem, isBusy, relayProblem } from './words.js';

const SILENT_MS = 4_000;
/** Longer than the relay keeps a name for a page that is gone without a word. */
const NAME_WITHIN_MS = 25_000;
/** What a picture of the size is sent at: at first, and at most. */
const KBPS = { '640x480': [800, 1_500], '1280x720': [1_500, 3_000] };

const memory = kept('localStorage');
const tab = kept('sessionStorage');
const chosen = memory.get('chosen', { camera: '', microphone: '', size: '640x480', mirror: true });
/** What the visitor has set; the rest is as the relay has it. */
const wanted = offered(memory.get('wanted', {}));
const playout = new Playout($('result'));

/** The present attempt to be live, from Start to Stop: {link, camera, microphone, peer, control, release}; or null. */
let run = null;

const panel = new SettingsPanel((some) => {
  Object.assign(wanted, some);
  if (['strength', 'also', 'keep'].some((name) => name in some)) {
    const { strength, also, keep } = wanted;
    memory.set('wanted', { strength, also, keep });
  }
  run?.control?.set(some);
});

/** Go live. name: what the stream is to be called; tabs: `one`, `moved` (another one is letting go) or `two`. */
async function start({ name = tab.get('stream', null), tabs = 'one' } = {}) {
  if (run) return;
  const mine = (run = { name });
  const ask = { title: 'Allow the camera', text: 'The browser asks whether this page may use it.' };
  keepFocus(() => (show('asking', 'Waiting for the camera…'), showNotice(ask)), () => $('stop'));
  try {
    if (tabs !== 'two' && !(mine.release = await claim(moved, tabs === 'moved'))) return fail(secondTab());
    if (run !== mine) return close(mine);
    mine.camera = await openCamera(chosen.camera, chosen.size);
    if (run !== mine) return close(mine);
    watchCamera(mine);
    await changeMicrophone();
    await listDevices(chosen);
  } catch (error) {
    if (run === mine) fail({ ...deviceProblem(error, 'camera'), actions: [['Try again', () => start()]] });
    return close(mine);
  }
  if (run === mine) mine.link = new Link((signal) => open(mine, signal), (state) => follow(mine, state));
}

/** One connection with the relay, as Link wants it. */
async function open(mine, signal) {
  const base = document.baseURI;
  const url = new URL('whip', base);
  if (mine.name) url.searchParams.set('stream', mine.name);
  const peer = await Peer.at(url, base, tab.get('publish', ''), signal);
  // What could not be ended while the network was away still holds the stream's name.
  await mine.former?.leave();
  mine.former = peer;
  const figures = new Figures();
  mine.relay = null;
  mine.video = peer.pc.addTransceiver(mine.camera, { direction: 'sendrecv' }).sender;
  mine.audio = peer.pc.addTransceiver(mine.microphone ?? 'audio', { direction: 'sendonly' }).sender;
  peer.pc.addEventListener('track', ({ track }) => ($('result').srcObject = new MediaStream([track])));
  const channel = peer.pc.createDataChannel('control');
  channel.addEventListener('close', () => peer.ended());
  const greeted = new Promise((resolve) => {
    mine.control = new Control(channel, (message) => (hear(mine, message), message.type === 'hello' && resolve(null)));
  });
  try {
    await peer.open(signal, KBPS[chosen.size][0]);
  } catch (error) {
    if (error.status === 409) await askForName(mine);
    throw error;
  }
  tab.set('session', peer.session);
  mine.takenSince = null;
  await tune(mine.video);
  // The last picture stays until the next one comes.
  peer.lost.then(() => run === mine && $('result').pause());
  peer.watch(bytesIn, SILENT_MS, (report) => showFigures(figures.take(report), playout.take(), mine.relay));
  const gone = await Promise.race([greeted, peer.lost]);
  if (!gone) return peer;
  peer.close();
  throw gone;
}

/** The name is in use. A crash leaves this tab's last connection to hold it: end that. In the end take a new name. */
async function askForName(mine) {
  mine.takenSince ??= performance.now();
  if (performance.now() - mine.takenSince > NAME_WITHIN_MS) mine.name = null;
  const former = tab.get('session', null);
  if (former && (await end(former, tab.get('publish', '')))) tab.set('session', null);
}

/** Keep the resolution, whatever else must give; and a ceiling that suits it. */
async function tune(sender) {
  const parameters = sender.getParameters();
  parameters.degradationPreference = 'maintain-resolution';
  for (const encoding of parameters.encodings) encoding.maxBitrate = 1_000 * KBPS[chosen.size][1];
  // A browser that refuses goes by its own ideas, and a connection that is gone needs none.
  await sender.setParameters(parameters).catch(() => null);
}

/** What the relay says over the control channel. */
function hear(mine, message) {
  if (run !== mine) return;
  if (message.type === 'hello') {
    mine.name = message.stream;
    tab.set('stream', message.stream);
    const link = new URL(message.watch, document.baseURI);
    if (tab.get('view', '')) link.hash = new URLSearchParams({ view: tab.get('view', '') });
    showViewerLink(link.href);
    panel.show({ ...message.settings, ...wanted });
    mine.control.set(wanted);
  } else if (message.type === 'settings') {
    if (mine.control.settled) panel.show(message);
  } else if (message.type === 'stats') {
    mine.relay = message;
    panel.busy = isBusy(message);
  } else if (message.type === 'error') {
    panel.complain(message.message);
  }
}

/** Show how the link fares. */
function follow(mine, state) {
  if (run !== mine) return;
  if (state.is === 'live') {
    mine.wasLive = true;
    if (!mine.missing) hideNotice();
    show('live', 'Live');
  } else if (state.is === 'connecting' && document.body.dataset.state !== 'waiting') {
    show('connecting', 'Connecting…');
    showNotice({ title: 'Connecting to the relay', text: 'This takes a moment.' });
  } else if (state.is === 'waiting') {
    const actions = [['Try now', () => mine.link.retry()]];
    show('waiting', mine.wasLive ? 'Reconnecting…' : 'Waiting…');
    clearFigures();
    const words = relayProblem(state.problem);
    const text = mine.wasLive ? `${words.text} Your settings are kept.` : words.text;
    showNotice({ ...words, text, wait: waitWords(state.inS), actions });
  } else if (state.is === 'refused') {
    fail(refusal(state.problem));
  }
}

function refusal(problem) {
  const words = relayProblem(problem, tab.get('publish', ''));
  const onToken = (token) => (tab.set('publish', token), start());
  return words.wantsToken ? { ...words, onToken } : { ...words, actions: [['Try again', () => start()]] };
}

/** Be live no longer, and let go of camera and microphone. */
function stop() {
  const mine = run;
  run = null;
  if (mine) close(mine);
  hideNotice();
  $('result').srcObject = $('self').srcObject = null;
  delete wanted.frozen;
  panel.show({ frozen: false });
  show('idle', 'Not live');
  clearFigures();
  showViewerLink(null);
}

function close(mine) {
  mine.link?.stop();
  mine.camera?.stop();
  mine.microphone?.stop();
  mine.release?.();
}

/** Stop for a reason that is shown. */
function fail(notice) {
  const tell = () => (stop(), show('problem', 'Not live'), showNotice(notice));
  keepFocus(tell, () => (notice.onToken ? $('notice-token') : $('notice-actions').firstElementChild));
}

function show(state, words) {
  const busy = ['asking', 'connecting', 'live', 'waiting'].includes(state);
  const change = () => {
    showState(state, words);
    $('welcome').hidden = state !== 'idle';
    $('stop').hidden = !busy;
    panel.refresh();
  };
  keepFocus(change, () => (busy ? $('stop') : $('start')));
}

/** Another tab of this browser is live already. */
function secondTab() {
  const move = ['Move it here', async () => start({ name: await moveHere(), tabs: 'moved' })];
  const second = ['Start a second stream', () => start({ name: null, tabs: 'two' })];
  return {
    title: 'You are live in another tab',
    text: 'Move the stream to this one, or start a second stream beside it.',
    actions: [move, second],
  };
}

/** Another tab takes over the stream; gives its name. */
function moved() {
  const { name } = run;
  tab.set('stream', null);
  fail({ title: 'The stream has moved', text: 'It goes on in another tab.', actions: [['Start here again', () => start()]] });
  return name;
}

function watchCamera(mine) {
  $('self').srcObject = new MediaStream([mine.camera]);
  const { camera } = mine;
  camera.addEventListener('ended', () => {
    if (run?.camera !== camera) return;
    showNotice({ title: 'The camera is gone', text: 'The picture goes on once it is plugged in again; you can also choose another camera.' });
    mine.missing = true;
  });
}

/** Take the camera that is chosen now, at the size that is chosen now, without a break in the connection. */
async function changeCamera() {
  const mine = run;
  if (!mine?.camera) return;
  mine.camera.stop();
  try {
    const camera = await openCamera(chosen.camera, chosen.size);
    if (run !== mine) return camera.stop();
    mine.camera = camera;
    watchCamera(mine);
    await replace(mine.video, camera);
    if (mine.video) await tune(mine.video);
    mine.missing = false;
    if (document.body.dataset.state === 'live') hideNotice();
  } catch (error) {
    if (run === mine) showNotice({ ...deviceProblem(error, 'camera'), actions: [['Try again', changeCamera]] });
  }
}

/** Take the microphone that is chosen now, or none. */
async function changeMicrophone() {
  const mine = run;
  if (!mine) return;
  mine.microphone?.stop();
  mine.microphone = null;
  let problem = '';
  if (chosen.microphone) {
    try {
      mine.microphone = await openMicrophone(chosen.microphone);
      if (run !== mine) mine.microphone.stop();
    } catch (error) {
      problem = `${deviceProblem(error, 'microphone').title}; you go on without sound.`;
    }
  }
  await replace(mine.audio, mine.microphone);
  $('microphone-hint').textContent = problem;
  $('microphone-hint').hidden = !problem;
}

/** Send another track. A connection that is being opened anew gets it there. */
function replace(sender, track) {
  return sender?.replaceTrack(track).catch(() => null);
}

function choose(name, value) {
  chosen[name] = value;
  memory.set('chosen', chosen);
}

function wire() {
  $('start').addEventListener('click', () => start());
  $('stop').addEventListener('click', stop);
  for (const id of ['camera', 'size']) $(id).addEventListener('change', () => (choose(id, $(id).value), changeCamera()));
  $('microphone').addEventListener('change', async () => {
    choose('microphone', $('microphone').value);
    await changeMicrophone();
    await listDevices(chosen);
  });
  $('mirror').addEventListener('change', () => (choose('mirror', $('mirror').checked), mirror()));
  navigator.mediaDevices?.addEventListener('devicechange', async () => {
    await listDevices(chosen);
    if (run?.missing) changeCamera();
  });
  addEventListener('pagehide', stop);
  offerFullScreen($('full'), $('stage'), $('result'));
  offerCopy();
  for (const video of [$('result'), $('self')]) keepShape(video.parentElement, video);
}

function mirror() {
  $('own').classList.toggle('mirrored', $('mirror').checked);
}

takeTokens(tab);
$('size').value = chosen.size;
$('mirror').checked = chosen.mirror;
mirror();
panel.show({ strength: 1, ...wanted });
wire();
listDevices(chosen);
