/** The controls and figures around the picture: what the visitor chooses, and what is shown of it. */

import { USUAL, devices } from './camera.js';
import { $ } from './notice.js';
import { Split } from './split.js';
import { effort, sentence, viewersWords } from './words.js';

const HINTS = {
  plain: '',
  split: 'Drag the border on the picture, or move it with the arrow keys.',
  map: 'Marks glow red to white, shadow under the eyes blue, redness magenta, shine cyan; green and grey is what is guarded.',
};
const VIEWERS_RETOUCHED = ' Viewers keep seeing the retouched picture.';
const VIEWERS_PLAIN = ' Nothing is being retouched: viewers see the picture as the camera gives it.';
const FROZEN = 'The picture stands still, for viewers too.';
const BUSY = 'The relay is too busy to retouch at the moment: the picture passes as it is.';
const COMPLAINT_MS = 8_000;
const NONE = '–';
/** Settings that are lists, each shown as a row of boxes. */
const CHOICES = ['also', 'keep'];

/**
 * Settings of the relay (stream.live.settings) as controls. change(some) is told what the visitor changes;
 * show(settings) puts the controls where the settings are.
 */
export class SettingsPanel {
  #split;
  #frozen = false;
  #busy = false;
  #complaint = '';

  constructor(change) {
    this.#split = new Split($('split'), $('result'), (at) => change({ split_at: at }));
    const apply = (some) => (this.show(some), change(some));
    $('effect').addEventListener('change', () => apply({ effect: $('effect').checked }));
    $('strength').addEventListener('input', () => apply({ strength: Number($('strength').value) / 100 }));
    for (const radio of views()) radio.addEventListener('change', () => apply({ view: radio.value }));
    $('freeze').addEventListener('click', () => apply({ frozen: !this.#frozen }));
    for (const name of CHOICES) {
      const ticked = () => boxes(name).filter((box) => box.checked).map((box) => box.value);
      for (const box of boxes(name)) box.addEventListener('change', () => apply({ [name]: ticked() }));
    }
  }

  show({ effect, strength, view, split_at: at, frozen, ...rest }) {
    if (effect !== undefined) $('effect').checked = effect;
    if (strength !== undefined) showStrength(strength);
    if (view !== undefined) for (const radio of views()) radio.checked = radio.value === view;
    if (at !== undefined) this.#split.at = at;
    if (frozen !== undefined) this.#freeze(frozen);
    for (const name of CHOICES) {
      if (rest[name] !== undefined) for (const box of boxes(name)) box.checked = rest[name].includes(box.value);
    }
    this.refresh();
  }

  /** Show what belongs to the state of the page and the view. */
  refresh() {
    const live = document.body.dataset.state === 'live';
    const view = views().find((radio) => radio.checked)?.value ?? 'plain';
    this.#split.shown = live && view === 'split';
    for (const id of ['freeze', 'full']) $(id).disabled = !live;
    const retouched = $('effect').checked && Number($('strength').value) > 0;
    const told = HINTS[view] && HINTS[view] + (retouched ? VIEWERS_RETOUCHED : VIEWERS_PLAIN);
    const hint = (this.#busy && BUSY) || (this.#frozen && FROZEN) || told;
    const words = this.#complaint || (live ? hint : '');
    // A live region: touched only where it changes.
    if ($('view-hint').textContent !== words) $('view-hint').textContent = words;
  }

  /** Whether the relay has no time to retouch. */
  set busy(on) {
    this.#busy = on;
    this.refresh();
  }

  /** Show a sentence of the relay for a while. */
  complain(words) {
    this.#complaint = sentence(words);
    setTimeout(() => ((this.#complaint = ''), this.refresh()), COMPLAINT_MS);
    this.refresh();
  }

  #freeze(on) {
    this.#frozen = on;
    $('freeze').setAttribute('aria-pressed', on);
  }
}

function views() {
  return [...document.querySelectorAll('input[name=view]')];
}

/** Settings that were remembered, without the choices that this page does not offer: the relay would refuse them all. */
export function offered(settings) {
  const known = (name) => boxes(name).map((box) => box.value).filter((value) => settings[name].includes(value));
  const lists = CHOICES.filter((name) => Array.isArray(settings[name])).map((name) => [name, known(name)]);
  const rest = Object.entries(settings).filter(([name]) => !CHOICES.includes(name));
  return Object.fromEntries([...rest, ...lists]);
}

function boxes(name) {
  return [...document.querySelectorAll(`input[name=${name}]`)];
}

function showStrength(strength) {
  const percent = Math.round(strength * 100);
  $('strength').value = percent;
  $('strength').style.setProperty('--filled', `${percent}%`);
  $('strength').setAttribute('aria-valuetext', `${percent} %`);
  $('strength-now').textContent = `${percent} %`;
}

/** Fill the lists of cameras and microphones; chosen: {camera, microphone} ids. */
export async function listDevices(chosen) {
  const found = await devices();
  const of = (kind) => found.filter((device) => device.kind === kind);
  const known = (kind) => of(kind).filter(({ id }) => id).map(({ id, name }) => new Option(name, id));
  const usual = of('microphone').length ? [new Option('Default microphone', USUAL)] : [];
  $('camera').replaceChildren(new Option('Default camera', ''), ...known('camera'));
  $('microphone').replaceChildren(new Option('None: pictures only', ''), ...usual, ...known('microphone'));
  for (const [kind, otherwise] of [['camera', ''], ['microphone', chosen.microphone && usual.length ? USUAL : '']]) {
    $(kind).value = chosen[kind];
    if ($(kind).selectedIndex < 0) $(kind).value = otherwise;
  }
}

/** Show the figures of the last second: own (see figures.js), playoutMs, and the relay's (null before they come). */
export function showFigures(own, playoutMs, relay) {
  const parts = {
    'Coding here': own.encodeMs,
    'Network, there and back': own.networkMs,
    'Relay': relay?.delay_p50_ms ?? null,
    'Waiting, decoding and drawing here': playoutMs ?? own.playoutMs,
  };
  const known = Object.values(parts).every((ms) => ms !== null);
  put('fps', own.fps, 1);
  put('delay', known ? Object.values(parts).reduce((sum, ms) => sum + ms, 0) : null, 0);
  put('retouch', relay?.retouch_p50_ms ?? null, 0);
  put('drops', relay?.dropped ?? null, 0);
  $('drops-share').textContent = relay?.frames_in ? `of ${relay.frames_in}` : '';
  $('bitrate').textContent = `${megabits(own.sentKbps)} / ${megabits(own.receivedKbps)}`;
  const [word, why] = relay ? effort(relay) : [NONE, ''];
  $('level').textContent = word;
  $('level-why').textContent = why;
  $('viewers').textContent = relay ? viewersWords(relay.viewers) : '';
  $('parts').replaceChildren(...Object.entries(parts).map(([name, ms]) => part(name, ms)));
}

/** Nothing is live: no figures. */
export function clearFigures() {
  for (const id of ['fps', 'delay', 'retouch', 'drops', 'bitrate', 'level']) $(id).textContent = NONE;
  for (const id of ['drops-share', 'level-why', 'viewers']) $(id).textContent = '';
  $('parts').replaceChildren();
}

function put(id, value, digits) {
  $(id).textContent = value === null ? NONE : value.toFixed(digits);
}

function megabits(kbps) {
  return kbps === null ? NONE : (kbps / 1000).toFixed(1);
}

function part(name, ms) {
  const row = document.createElement('div');
  const [term, value] = [document.createElement('dt'), document.createElement('dd')];
  term.textContent = name;
  value.textContent = ms === null ? NONE : `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
  row.append(term, value);
  return row;
}

/** Show the link that viewers open; null: there is none. */
export function showViewerLink(url) {
  $('link-box').hidden = !url;
  $('link').value = url ?? '';
  const here = ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname);
  const wide = 'Whoever has this link can watch the retouched picture while you are live.';
  const narrow = 'It opens on this computer only, because this page was opened at its local address.';
  $('link-hint').textContent = !url ? 'Once you are live, others can watch through a link.' : here ? `${wide} ${narrow}` : wide;
}

/** Let the button copy the link, and say whether it did. */
export function offerCopy() {
  $('link').addEventListener('focus', () => $('link').select());
  $('copy').addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText($('link').value);
      $('copy').textContent = 'Copied';
      $('link-hint').textContent = 'The link is copied.';
    } catch {
      $('link').focus();
      $('link-hint').textContent = 'The browser did not let the page copy; press Ctrl+C.';
    }
    setTimeout(() => ($('copy').textContent = 'Copy'), 2000);
  });
}
