/** What both pages share: the notice over the picture, the state in the header, full screen, tokens, the last click. */

export const $ = (id) => document.getElementById(id);

/** The state of the page, for the eye (body[data-state]) and in words. */
export function showState(state, words) {
  document.body.dataset.state = state;
  put($('pill-text'), words);
  document.title = `${words} · vretouch`;
}

/**
 * Show a notice over the picture. wait: a line that changes often, which is not read out. actions: [label, press] each.
 * onToken(token): shows a field for a token.
 */
export function showNotice({ title, text, wait = '', actions = [], onToken = null }) {
  // What is read out is only touched where it changes, or it would be read out each second.
  put($('notice-title'), title);
  put($('notice-text'), text.replace(/\s+/g, ' '));
  put($('notice-wait'), wait);
  $('notice-wait').hidden = !wait;
  $('notice-form').hidden = !onToken;
  $('notice-form').onsubmit = (event) => {
    event.preventDefault();
    onToken($('notice-token').value.trim());
    $('notice-token').value = '';
  };
  const labels = actions.map(([label]) => label).join('\n');
  if ($('notice-actions').dataset.labels !== labels) {
    $('notice-actions').dataset.labels = labels;
    $('notice-actions').replaceChildren(...actions.map(([label], index) => button(label, !onToken && index === 0)));
  }
  actions.forEach(([, press], index) => ($('notice-actions').children[index].onclick = press));
  $('notice').hidden = false;
  if (onToken) $('notice-token').focus();
}

/** Take the notice away. */
export function hideNotice() {
  $('notice').hidden = true;
}

/** Change the page; where that takes away the element with the focus, next() gets it, so that nobody has to start over. */
export function keepFocus(change, next) {
  const focused = document.activeElement;
  change();
  if (focused !== document.body && focused.getClientRects().length === 0) next()?.focus();
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function button(label, primary) {
  const made = document.createElement('button');
  made.type = 'button';
  made.textContent = label;
  made.classList.toggle('primary', primary);
  return made;
}

/** "Trying again in 3 s". */
export function waitWords(inS) {
  return inS > 0 ? `Trying again in ${inS} s.` : 'Trying again…';
}

/** Let the button show the stage on the whole screen, or hide it where the browser cannot. */
export function offerFullScreen(press, stage, video) {
  const can = document.fullscreenEnabled || video.webkitEnterFullscreen;
  press.hidden = !can;
  press.addEventListener('click', () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (document.fullscreenEnabled) stage.requestFullscreen();
    else video.webkitEnterFullscreen();
  });
}

/** Give the stage the shape of its picture. */
export function keepShape(stage, video) {
  video.addEventListener('resize', () => {
    if (video.videoWidth) stage.style.setProperty('--shape', `${video.videoWidth} / ${video.videoHeight}`);
  });
}

/** What the browser keeps for this page; kept in memory only where it keeps nothing. */
export function kept(storage) {
  const memory = new Map();
  return {
    get(name, otherwise) {
      try {
        return JSON.parse(window[storage].getItem(`vretouch.${name}`)) ?? memory.get(name) ?? otherwise;
      } catch {
        return memory.get(name) ?? otherwise;
      }
    },
    set(name, value) {
      memory.set(name, value);
      try {
        window[storage].setItem(`vretouch.${name}`, JSON.stringify(value));
      } catch {
        // Storage is switched off in this browser; the memory above serves until the page is left.
      }
    },
  };
}

/** Tokens out of the address (#publish=...&view=...), which is cleaned so that they are not passed on by mistake. */
export function takeTokens(storage) {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of ['publish', 'view']) {
    if (given.get(name)) storage.set(name, given.get(name));
  }
  if (given.has('publish') || given.has('view')) history.replaceState(null, '', location.pathname + location.search);
}
