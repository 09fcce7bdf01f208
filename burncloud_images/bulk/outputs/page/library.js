"use strict";

// All cards of the job, and how they are found and put in order. Nothing here touches the page.

const FACETS = ["state", "model", "size"];

const collator = new Intl.Collator("en");
const last = (value) => (value === undefined ? -1 : value);
const inOrder = (one, other) => one.number - other.number || (one.image || 0) - (other.image || 0);

const ORDERS = {
  order: inOrder,
  newest: (one, other) => last(other.ended) - last(one.ended) || inOrder(one, other),
  cost: (one, other) => last(other.cost) - last(one.cost) || inOrder(one, other),
  bytes: (one, other) => last(other.bytes) - last(one.bytes) || inOrder(one, other),
  prompt: (one, other) =>
    !one.prompt - !other.prompt || collator.compare(one.prompt, other.prompt) || inOrder(one, other),
};

/** Text as it is compared: without capitals and accents. */
function fold(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

class Library {
  constructor() {
    this.parts = [];
    this.cards = [];
    this.byName = new Map();
    this.sorted = new Map();
  }

  /** Takes the cards of one script; scripts come in any order. */
  add(number, cards) {
    for (const card of cards) {
      card.name = `${card.key}-${card.image || 0}`;
      card.values = FACETS.map((facet) => card[facet] || "");
      card.text = fold(
        [card.prompt, card.revised, card.id, ...(card.ids || []), ...(card.columns || []).map(([, value]) => value), card.model, card.error, card.code, card.message, ...(card.refused || []), card.request, card.name]
          .filter(Boolean)
          .join("\n"),
      );
      this.byName.set(card.name, card);
    }
    this.parts[number] = cards;
    this.cards = this.parts.flat();
    this.sorted.clear();
  }

  /** Returns all cards in an order; each order is made once. */
  inOrder(order) {
    if (!this.sorted.has(order)) {
      this.sorted.set(order, order === "order" ? this.cards : [...this.cards].sort(ORDERS[order]));
    }
    return this.sorted.get(order);
  }

  /**
   * Returns the cards that have all words of a query and, of each facet, one of the chosen values; and for each facet
   * how many cards each of its values would give if the choice in that facet were left out.
   */
  find({ query, chosen, order }) {
    const words = fold(query).split(/\s+/).filter(Boolean);
    const wanted = FACETS.map((facet) => chosen[facet]);
    const counts = FACETS.map(() => new Map());
    const found = [];
    for (const card of this.inOrder(order)) {
      if (!words.every((word) => card.text.includes(word))) continue;
      let misses = 0;
      let missed = 0;
      for (let facet = 0; facet < wanted.length; facet += 1) {
        if (wanted[facet].size && !wanted[facet].has(card.values[facet])) {
          misses += 1;
          missed = facet;
        }
      }
      if (misses === 0) {
        found.push(card);
        for (let facet = 0; facet < counts.length; facet += 1) increase(counts[facet], card.values[facet]);
      } else if (misses === 1) {
        increase(counts[missed], card.values[missed]);
      }
    }
    return { found, counts };
  }
}

function increase(counts, value) {
  counts.set(value, (counts.get(value) || 0) + 1);
}
