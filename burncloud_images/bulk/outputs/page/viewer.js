"use strict";

// One card close up: its image as large as there is room, and all that is known of it.

const FACTS = [
  ["Id", (card) => card.id],
  ["Also", (card) => (card.ids || []).join(", ")],
  ["Columns", (card) => (card.columns || []).map(([name, value]) => `${name}: ${value}`).join(" · ")],
  ["Model", (card) => card.model],
  ["Operation", (card) => card.operation],
  ["Size", (card) => card.size && saySize(card.size)],
  ["Quality", (card) => card.quality],
  ["Image", (card) => card.of > 1 && card.image && `${card.image} of ${card.of}`],
  ["Refused", (card) => (card.refused || []).join(" ")],
  ["Format", (card) => card.type],
  ["File size", (card) => card.bytes && `${sayBytes(card.bytes)} (${sayNumber(card.bytes)} bytes)`],
  ["Cost", (card) => card.cost !== undefined && sayMoney(card.cost)],
  ["Set aside", (card) => card.reserved && `${sayMoney(card.reserved)}, as it may have been billed`],
  ["Ended", (card) => card.ended && sayTime(card.ended)],
  ["Attempts", (card) => card.attempts],
  ["HTTP status", (card) => card.status],
  ["Input images", (card) => (card.inputs || []).join(", ")],
  ["Row", (card) => card.source && `${card.source}, line ${sayNumber(card.line)}`],
  ["Request id", (card) => card.request, "copy"],
  ["Key", (card) => card.key, "copy"],
  ["File", (card) => card.file, "copy"],
  ["SHA-256", (card) => card.sha256, "copy"],
];

class Viewer {
  /** *neighbours* gives the cards among which the arrow keys turn; *closed* is told the last card. */
  constructor(dialog, { neighbours, closed }) {
    this.dialog = dialog;
    this.neighbours = neighbours;
    this.card = null;
    const find = (id) => document.getElementById(id);
    this.parts = Object.fromEntries(
      ["state", "place", "prompt", "revised", "trouble", "open", "copy", "facts"].map((id) => [id, find(`viewer-${id}`)]),
    );
    this.picture = find("picture");
    this.buttons = { previous: find("previous"), next: find("next") };
    this.buttons.previous.addEventListener("click", () => this.turn(-1));
    this.buttons.next.addEventListener("click", () => this.turn(1));
    find("close").addEventListener("click", () => dialog.close());
    find("stage").addEventListener("click", (event) => event.target === event.currentTarget && dialog.close());
    this.parts.copy.addEventListener("click", () => copy(this.card.prompt, this.parts.copy));
    this.parts.copy.hidden = !navigator.clipboard;
    dialog.addEventListener("keydown", (event) => this.press(event));
    dialog.addEventListener("close", () => {
      const card = this.card;
      this.card = null;
      this.picture.replaceChildren();
      closed(card);
    });
  }

  open(card) {
    this.show(card);
    if (!this.dialog.open) this.dialog.showModal();
  }

  press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const turns = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -Infinity, End: Infinity };
    if (!(event.key in turns)) return;
    event.preventDefault();
    this.turn(turns[event.key]);
  }

  turn(step) {
    const cards = this.neighbours();
    const place = Math.max(0, Math.min(cards.length - 1, cards.indexOf(this.card) + step));
    if (cards[place] && cards[place] !== this.card) this.show(cards[place]);
  }

  show(card) {
    this.card = card;
    history.replaceState(null, "", `#${card.name}`);
    const cards = this.neighbours();
    const place = cards.indexOf(card);
    const { parts } = this;
    parts.state.textContent = STATES[card.state] || card.state;
    parts.state.dataset.state = card.state;
    parts.place.textContent = place < 0 ? "" : `${sayNumber(place + 1)} of ${sayNumber(cards.length)}`;
    parts.prompt.textContent = sayPrompt(card);
    parts.revised.hidden = !card.revised;
    parts.revised.querySelector("p").textContent = card.revised || "";
    this.showTrouble(card);
    this.showActions(card);
    parts.facts.replaceChildren(...FACTS.flatMap((fact) => toFact(card, ...fact)));
    this.buttons.previous.disabled = place <= 0;
    this.buttons.next.disabled = place < 0 || place === cards.length - 1;
    this.picture.replaceChildren(toPicture(card));
    for (const neighbour of [cards[place + 1], cards[place - 1]]) fetchAhead(neighbour);
  }

  showTrouble(card) {
    const { trouble } = this.parts;
    trouble.hidden = Boolean(card.file) || !card.advice;
    trouble.dataset.state = card.state;
    trouble.querySelector("h3").textContent = [card.error, card.code].filter(Boolean).join(" · ") || STATES[card.state];
    trouble.querySelector(".message").textContent = card.message || "";
    trouble.querySelector(".advice").textContent = card.advice || "";
  }

  showActions(card) {
    const { open, copy: copyPrompt } = this.parts;
    // An SVG could hold a script, which only runs where the file is a page of its own.
    open.hidden = !card.file || Boolean(toShard(card.file)) || card.type === "image/svg+xml";
    if (open.hidden) open.removeAttribute("href");
    else open.href = toAddress(card.file);
    copyPrompt.disabled = !card.prompt;
  }
}

function toPicture(card) {
  if (!card.file || toShard(card.file)) {
    const note = make("p", "absent", card.file ? `In ${toShard(card.file)}` : STATES[card.state] || card.state);
    note.dataset.state = card.state;
    note.prepend(drawIcon(card.file ? "archive" : card.state));
    return note;
  }
  const image = toImage(card);
  image.loading = "eager";
  image.alt = sayPrompt(card);
  image.addEventListener("error", () => image.replaceWith(make("p", "absent", `${sayMissing(card)}.`)));
  return image;
}

function fetchAhead(card) {
  if (card && card.file && !toShard(card.file)) new Image().src = toAddress(card.file);
}

function toFact(card, name, value, kind) {
  const text = value(card);
  if (!text) return [];
  const term = make("dt", "", name);
  const description = make("dd", kind === "copy" ? "code" : "", String(text));
  if (kind === "copy" && navigator.clipboard) {
    const button = make("button", "copy");
    button.type = "button";
    button.setAttribute("aria-label", `Copy: ${name}`);
    button.append(drawIcon("copy"));
    button.addEventListener("click", () => copy(text, button));
    description.append(button);
  }
  return [term, description];
}

async function copy(text, button) {
  await navigator.clipboard.writeText(text);
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 1200);
}
