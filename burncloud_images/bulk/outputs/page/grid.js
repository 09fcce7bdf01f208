"use strict";

// One page of cards. The first screens are drawn at once, the rest over the next frames, so that typing never waits.

const PAGE = 500;
const AT_ONCE = 40;
const MOST_WIDE = 2.4;
const PIXELS = /^(\d+)x(\d+)$/;

const isSameRow = (card, before) =>
  Boolean(before && card.source && card.line) && card.source === before.source && card.line === before.line;

class Grid {
  constructor(list) {
    this.list = list;
    this.template = document.getElementById("card").content.firstElementChild;
    this.note = document.getElementById("note").content.firstElementChild;
    this.shown = [];
    this.drawing = 0;
    list.addEventListener("load", (event) => event.target.classList.add("loaded"), true);
    list.addEventListener("error", (event) => this.replaceMissing(event.target), true);
    list.addEventListener("keydown", (event) => this.walk(event));
    window.addEventListener("beforeprint", () => this.loadAll());
  }

  /** Shows these cards, at most a page of them. */
  show(cards) {
    if (cards.length === this.shown.length && cards.every((card, place) => card === this.shown[place])) return;
    this.shown = cards;
    cancelAnimationFrame(this.drawing);
    this.list.replaceChildren();
    this.draw(0);
  }

  draw(start) {
    const end = Math.min(start + AT_ONCE, this.shown.length);
    this.append(start, end);
    if (end < this.shown.length) this.drawing = requestAnimationFrame(() => this.draw(end));
  }

  /** Draws what is left now, for whoever needs a certain card. */
  drawAll() {
    cancelAnimationFrame(this.drawing);
    const start = this.list.children.length;
    this.append(start, this.shown.length);
  }

  /** Adds cards; those of one row of a list stand closer together. */
  append(start, end) {
    const elements = this.shown.slice(start, end).map((card, place) => {
      const element = this.toElement(card);
      element.classList.toggle("same", isSameRow(card, this.shown[start + place - 1]));
      return element;
    });
    this.list.append(...elements);
  }

  toElement(card) {
    const element = this.template.cloneNode(true);
    const link = element.querySelector("a");
    element.dataset.state = card.state;
    element.style.setProperty("--ratio", toRatio(card));
    link.href = `#${card.name}`;
    link.querySelector(".frame").append(...this.toFrame(card));
    link.querySelector(".prompt").textContent = sayPrompt(card);
    link.querySelector(".how").append(...toIsolated([card.model, saySize(card.size || "")].filter(Boolean)));
    link.querySelector(".cost").textContent = card.cost === undefined ? "" : sayMoney(card.cost);
    return element;
  }

  toFrame(card) {
    if (!card.file) return [this.toNote(card)];
    const shard = toShard(card.file);
    const picture = shard ? this.toShardNote(shard) : toImage(card);
    return card.of > 1 ? [picture, make("span", "badge", `${card.image} of ${card.of}`)] : [picture];
  }

  /** Says in place of an image why there is none, and what to do. */
  toNote(card) {
    const ids = [card.request && `request ${card.request}`, `key ${card.key}`].filter(Boolean);
    return this.fillNote(card.state, {
      heading: [STATES[card.state] || card.state, card.code || card.error].filter(Boolean).join(" · "),
      message: card.message,
      advice: card.advice,
      ids,
    });
  }

  toShardNote(shard) {
    return this.fillNote("archive", { heading: `In ${shard}`, message: "Images in a shard cannot be shown here." });
  }

  fillNote(icon, { heading, message = "", advice = "", ids = [] }) {
    const note = this.note.cloneNode(true);
    note.querySelector("use").setAttribute("href", `#icon-${icon}`);
    note.querySelector("strong").textContent = heading;
    note.querySelector(".message").textContent = message;
    note.querySelector(".advice").textContent = advice;
    note.querySelector(".ids").append(...ids.map((id) => make("span", "", id)));
    return note;
  }

  replaceMissing(image) {
    const card = this.shown[[...this.list.children].indexOf(image.closest(".card"))];
    image.replaceWith(this.fillNote("missing", { heading: sayMissing(card), message: card.file }));
  }

  /** Goes from card to card by the arrow keys. */
  walk(event) {
    const here = event.target.closest(".card");
    if (!here || event.altKey || event.ctrlKey || event.metaKey) return;
    const ways = {
      ArrowLeft: () => here.previousElementSibling,
      ArrowRight: () => here.nextElementSibling,
      ArrowUp: () => findAcross(here, "previousElementSibling"),
      ArrowDown: () => findAcross(here, "nextElementSibling"),
    };
    const there = event.key in ways && ways[event.key]();
    if (!there) return;
    event.preventDefault();
    there.querySelector("a").focus();
  }

  /** Puts the focus on a card, if it is on this page. */
  focus(card) {
    this.drawAll();
    const place = this.shown.indexOf(card);
    const element = this.list.children[place];
    if (!element) return;
    element.querySelector("a").focus({ preventScroll: true });
    element.scrollIntoView({ block: "nearest" });
  }

  loadAll() {
    this.drawAll();
    for (const image of this.list.querySelectorAll("img")) image.loading = "eager";
  }
}

/** Returns texts with dots between them, none of which turns the direction of another. */
function toIsolated(texts) {
  return texts.flatMap((text, place) => (place ? [" · ", make("bdi", "", text)] : [make("bdi", "", text)]));
}

/** Returns the card above or below: in the next row that way, the one whose middle is nearest. */
function findAcross(here, way) {
  const { top, left, width } = here.getBoundingClientRect();
  const middle = (box) => box.left + box.width / 2;
  let row = null;
  let nearest = null;
  for (let there = here[way]; there; there = there[way]) {
    const box = there.getBoundingClientRect();
    if (box.top === top) continue;
    if (row !== null && box.top !== row) break;
    row = box.top;
    const distance = Math.abs(middle(box) - left - width / 2);
    if (!nearest || distance < nearest.distance) nearest = { there, distance };
  }
  return nearest && nearest.there;
}

/** Returns width by height, within what a row can bear. */
function toRatio(card) {
  const [, width, height] = (card.file && !toShard(card.file) && PIXELS.exec(card.size || "")) || [];
  return width ? Math.min(MOST_WIDE, Math.max(1 / MOST_WIDE, width / height)) : 1;
}

function toImage(card) {
  const image = make("img");
  image.loading = "lazy";
  image.decoding = "async";
  image.alt = ""; // the caption says it
  const [, width, height] = PIXELS.exec(card.size || "") || [];
  if (width) {
    image.width = width;
    image.height = height;
  }
  image.src = toAddress(card.file);
  return image;
}
