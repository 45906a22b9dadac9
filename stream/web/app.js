/** The page that publishes: the visitor's camera goes to the relay, and its retouched picture comes back. */

import { stayAwake } from './awake.js';
import { devices, openCamera, openMicrophone, orUsual } from './camera.js';
import { Control } from './control.js';
import { bytesIn, Figures, Playout } from './figures.js';
import { Link } from './link.js';
import { $, hideNotice, keepFocus, keepShape, kept, offerFullScreen, showNotice, showState, takeTokens, waitWords } from './notice.js';
import { clearFigures, listDevices, offerCopy, offered, SettingsPanel, showFigures, showViewerLink } from './panel.js';
import { Peer } from './peer.js';
import { end } from './signal.js';
import { claim, moveHere } from './tabs.js';
import { CAMERA_ENDED, CAMERA_MUTED, deviceProblem, isBusy, relayProblem } from './words.js';

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
  keepFocus(() => (show('asking', 'Asking…'), showNotice(ask)), () => $('stop'));
  try {
    if (tabs !== 'two' && !(mine.release = await claim(moved, tabs === 'moved'))) return fail(secondTab());
    if (run !== mine) return close(mine);
    mine.camera = await orUsual((id) => openCamera(id, chosen.size), chosen.camera);
    if (run !== mine) return close(mine);
    watchCamera(mine);
    await changeMicrophone((id) => orUsual(openMicrophone, id));
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
    showLive(mine);
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

/** Live, and what is missing. */
function showLive(mine) {
  const words = mine.missing ? 'Live, no picture' : mine.soundless ? 'Live, no sound' : 'Live';
  const change = () => (mine.missing ? showNotice(mine.missing) : hideNotice(), show('live', words));
  keepFocus(change, () => (mine.missing ? $('notice-actions').firstElementChild : $('stop')));
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
  stayAwake(busy);
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
  const { camera } = mine;
  $('self').srcObject = new MediaStream([camera]);
  mine.cameraId = camera.getSettings().deviceId ?? mine.cameraId;
  const hear = (event, tell) => camera.addEventListener(event, () => run?.camera === camera && tell());
  hear('ended', () => miss(mine, CAMERA_ENDED));
  hear('mute', () => miss(mine, CAMERA_MUTED));
  hear('unmute', () => ((mine.missing = null), refreshLive(mine)));
}

/** Say, for as long as it lasts, that the camera gives no picture. Another one goes on air only when it is asked for. */
async function miss(mine, words) {
  const missing = (mine.missing = { ...words, actions: [['Try again', () => changeCamera()]] });
  const other = (await devices()).find(({ kind, id }) => kind === 'camera' && id && id !== mine.cameraId);
  if (mine.missing !== missing) return;
  if (other) missing.actions.push([`Use ${other.name}`, () => useCamera(other.id)]);
  refreshLive(mine);
}

function useCamera(id) {
  choose('camera', id);
  $('camera').value = id;
  changeCamera(id);
}

function refreshLive(mine) {
  if (run === mine && document.body.dataset.state === 'live') showLive(mine);
}

/** Take another camera, or the same one anew, at the size that is chosen now, without a break in the connection. */
async function changeCamera(id = run?.cameraId, unasked = false) {
  const mine = run;
  if (!mine?.camera) return;
  const turn = (mine.cameraTurn = {});
  const stale = () => run !== mine || mine.cameraTurn !== turn;
  mine.cameraId = id;
  mine.camera.stop();
  try {
    const camera = await openCamera(id, chosen.size);
    if (stale()) return camera.stop();
    mine.camera = camera;
    mine.missing = null;
    watchCamera(mine);
    await replace(mine.video, camera);
    if (mine.video) await tune(mine.video);
    refreshLive(mine);
  } catch (error) {
    if (!stale()) miss(mine, (unasked && mine.missing) || deviceProblem(error, 'camera'));
  }
}

/** Take the microphone that is chosen now, or none. */
async function changeMicrophone(open = openMicrophone) {
  const mine = run;
  if (!mine) return;
  const turn = (mine.microphoneTurn = {});
  const stale = () => run !== mine || mine.microphoneTurn !== turn;
  mine.microphone?.stop();
  mine.microphone = null;
  let problem = '';
  try {
    const microphone = chosen.microphone ? await open(chosen.microphone) : null;
    if (stale()) return microphone?.stop();
    mine.microphone = microphone;
    microphone?.addEventListener('ended', () => mine.microphone === microphone && loseSound(mine));
  } catch (error) {
    problem = deviceProblem(error, 'microphone').title;
  }
  if (!stale()) await showSound(mine, problem);
}

function loseSound(mine) {
  mine.microphone = null;
  showSound(mine, 'The microphone has stopped');
}

/** Send the microphone, or nothing, and say why. */
async function showSound(mine, problem) {
  await replace(mine.audio, mine.microphone);
  if (run !== mine) return;
  mine.soundless = Boolean(problem);
  const change = () => {
    $('microphone-hint').textContent = problem && `${problem}; you go on without sound.`;
    for (const id of ['microphone-hint', 'microphone-again']) $(id).hidden = !problem;
  };
  keepFocus(change, () => $('microphone'));
  refreshLive(mine);
}

/** What is missing may be back. */
function regain() {
  if (run?.missing && run.camera.readyState === 'ended') changeCamera(run.cameraId, true);
  if (run?.soundless) changeMicrophone();
}

/** A permission that was taken back and given again makes no other event. */
async function watchPermissions() {
  for (const name of ['camera', 'microphone']) {
    const permission = await navigator.permissions?.query({ name }).catch(() => null);
    permission?.addEventListener('change', () => permission.state === 'granted' && regain());
  }
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
  $('camera').addEventListener('change', () => useCamera($('camera').value));
  $('size').addEventListener('change', () => (choose('size', $('size').value), changeCamera()));
  $('microphone').addEventListener('change', async () => {
    choose('microphone', $('microphone').value);
    await changeMicrophone();
    await listDevices(chosen);
  });
  $('microphone-again').addEventListener('click', () => changeMicrophone());
  $('mirror').addEventListener('change', () => (choose('mirror', $('mirror').checked), mirror()));
  navigator.mediaDevices?.addEventListener('devicechange', async () => {
    await listDevices(chosen);
    regain();
  });
  watchPermissions();
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
