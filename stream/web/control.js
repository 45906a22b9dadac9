/** The control channel: settings out, a few times a second at most and always the newest; figures in. */

const PAUSE_MS = 50;

/** channel: an RTCDataChannel. hear(message): each message of the relay. */
export class Control {
  #channel;
  #unsent = {};
  #sent = 0;
  #answered = 0;
  #pausing = false;

  constructor(channel, hear) {
    this.#channel = channel;
    channel.addEventListener('message', (event) => {
      const message = JSON.parse(event.data);
      // What the relay says unasked has no number.
      this.#answered = message.number ?? this.#answered;
      // The relay's figures come each second: while there is neither picture nor sound to send, this shows that the page is there.
      if (message.type === 'stats' && channel.readyState === 'open') this.#tell({});
      hear(message);
    });
  }

  /** Whether the relay has answered all that was set, so that its settings are the newest. */
  get settled() {
    return this.#answered === this.#sent && Object.keys(this.#unsent).length === 0;
  }

  /** Change some settings soon. */
  set(changes) {
    Object.assign(this.#unsent, changes);
    if (!this.#pausing) this.#send();
  }

  #send() {
    if (this.#channel.readyState !== 'open' || Object.keys(this.#unsent).length === 0) return;
    this.#tell({ number: ++this.#sent, ...this.#unsent });
    this.#unsent = {};
    this.#pausing = true;
    setTimeout(() => ((this.#pausing = false), this.#send()), PAUSE_MS);
  }

  #tell(some) {
    this.#channel.send(JSON.stringify({ type: 'set', ...some }));
  }
}
