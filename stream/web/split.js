/** The border between before and after, dragged on the picture itself or moved by keys. */

const KEYS = {
  ArrowLeft: (at) => at - 0.01,
  ArrowDown: (at) => at - 0.01,
  ArrowRight: (at) => at + 0.01,
  ArrowUp: (at) => at + 0.01,
  PageDown: (at) => at - 0.1,
  PageUp: (at) => at + 0.1,
  Home: () => 0,
  End: () => 1,
};

/** handle: the slider's element, a child of the video's parent. onMove(at): 0 to 1 of the picture's width. */
export class Split {
  #handle;
  #video;
  #at = 0.5;
  #onMove;
  #dragging = false;

  constructor(handle, video, onMove) {
    [this.#handle, this.#video, this.#onMove] = [handle, video, onMove];
    const stage = video.parentElement;
    stage.addEventListener('pointerdown', (event) => this.#grab(event));
    stage.addEventListener('pointermove', (event) => this.#dragging && this.#drag(event));
    for (const name of ['pointerup', 'pointercancel']) stage.addEventListener(name, () => (this.#dragging = false));
    handle.addEventListener('keydown', (event) => this.#press(event));
    new ResizeObserver(() => this.#place()).observe(stage);
    video.addEventListener('resize', () => this.#place());
  }

  /** Show or hide the handle. */
  set shown(on) {
    this.#handle.hidden = !on;
    this.#video.parentElement.classList.toggle('splitting', on);
    this.#place();
  }

  /** Where it is; while it is being dragged the hand decides. */
  set at(at) {
    if (!this.#dragging) this.#set(at);
  }

  #grab(event) {
    if (this.#handle.hidden || event.button !== 0 || event.target.closest('.card')) return;
    this.#dragging = true;
    event.currentTarget.setPointerCapture(event.pointerId);
    this.#handle.focus({ preventScroll: true });
    event.preventDefault();
    this.#drag(event);
  }

  #drag(event) {
    const picture = this.#picture();
    this.#move((event.clientX - this.#video.getBoundingClientRect().left - picture.left) / picture.width);
  }

  #press(event) {
    const step = KEYS[event.key];
    if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.#move(step(this.#at));
  }

  #move(at) {
    this.#set(Math.min(1, Math.max(0, Math.round(at * 1000) / 1000)));
    this.#onMove(this.#at);
  }

  #set(at) {
    this.#at = at;
    const percent = Math.round(at * 100);
    this.#handle.setAttribute('aria-valuenow', percent);
    this.#handle.setAttribute('aria-valuetext', `${percent} % before, ${100 - percent} % after`);
    this.#place();
  }

  /** left, top, width and height of the picture inside the video element, which may have black beside it. */
  #picture() {
    const { videoWidth, videoHeight, clientWidth, clientHeight } = this.#video;
    const zoom = videoWidth ? Math.min(clientWidth / videoWidth, clientHeight / videoHeight) : 0;
    const [width, height] = zoom ? [videoWidth * zoom, videoHeight * zoom] : [clientWidth, clientHeight];
    return { left: (clientWidth - width) / 2, top: (clientHeight - height) / 2, width, height };
  }

  #place() {
    const { left, top, width, height } = this.#picture();
    this.#handle.style.setProperty('left', `${left + this.#at * width}px`);
    this.#handle.style.setProperty('top', `${top}px`);
    this.#handle.style.setProperty('height', `${height}px`);
  }
}
