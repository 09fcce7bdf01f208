"use strict";

// The chips: of each facet those values that there are, the frequent first, with how many cards each would show.

const MOST_CHIPS = 8;
const FACET_NAMES = { state: "State", model: "Model", size: "Size" };
const NOT_NAMED = { state: "Unknown", model: "No model named", size: "No size named" };

class Filters {
  constructor(place, changed) {
    this.place = place;
    this.changed = changed;
    this.chosen = Object.fromEntries(FACETS.map((facet) => [facet, new Set()]));
    this.opened = new Set();
    this.known = FACETS.map(() => new Map());
    this.chips = FACETS.map(() => new Map());
    this.drawn = "";
  }

  get isEmpty() {
    return FACETS.every((facet) => this.chosen[facet].size === 0);
  }

  clear() {
    for (const facet of FACETS) this.chosen[facet].clear();
  }

  /** Counts which values there are; to be called when cards were added. */
  learn(cards) {
    this.known = FACETS.map(() => new Map());
    for (const card of cards) FACETS.forEach((_, facet) => increase(this.known[facet], card.values[facet]));
  }

  /** Shows how many cards each value would give. */
  show(counts) {
    const values = this.known.map((known) => [...known.keys()].sort((one, other) => known.get(other) - known.get(one)));
    const drawn = JSON.stringify([values, [...this.opened]]);
    if (drawn !== this.drawn) {
      this.drawn = drawn;
      this.place.replaceChildren(...FACETS.flatMap((facet, place) => this.toGroup(facet, place, values[place])));
    }
    FACETS.forEach((facet, place) => {
      for (const [value, chip] of this.chips[place]) {
        const count = counts[place].get(value) || 0;
        const pressed = this.chosen[facet].has(value);
        chip.setAttribute("aria-pressed", String(pressed));
        chip.classList.toggle("empty", count === 0 && !pressed);
        chip.lastChild.textContent = sayNumber(count);
      }
    });
  }

  toGroup(facet, place, values) {
    this.chips[place] = new Map();
    if (values.length < 2) return [];
    const group = make("fieldset");
    group.append(make("legend", "", FACET_NAMES[facet]));
    const all = this.opened.has(facet) || values.length <= MOST_CHIPS + 1;
    for (const value of all ? values : values.slice(0, MOST_CHIPS)) group.append(this.toChip(facet, place, value));
    if (!all) group.append(this.toOpener(facet, values.length - MOST_CHIPS));
    return [group];
  }

  toChip(facet, place, value) {
    const chip = make("button", "chip");
    chip.type = "button";
    chip.dataset[facet] = value;
    const name = facet === "state" ? STATES[value] : saySize(value);
    chip.append(make("span", "", name || value || NOT_NAMED[facet]), make("span", "number"));
    chip.addEventListener("click", () => {
      const chosen = this.chosen[facet];
      if (!chosen.delete(value)) chosen.add(value);
      this.changed();
    });
    this.chips[place].set(value, chip);
    return chip;
  }

  toOpener(facet, count) {
    const opener = make("button", "chip more", `${sayNumber(count)} more…`);
    opener.type = "button";
    opener.addEventListener("click", () => {
      this.opened.add(facet);
      this.changed();
    });
    return opener;
  }
}
