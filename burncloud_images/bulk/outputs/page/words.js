"use strict";

// How numbers, money, times and states are said.

const STATES = {
  done: "Done",
  failed: "Failed",
  in_doubt: "In doubt",
  accepted: "Accepted",
  received: "Paid, not fetched",
  sent: "Under way",
};

const STOPPED = {
  finished: "Finished",
  interrupted: "Interrupted: run it again to go on",
  abandoned: "Stopped at once: run it again to go on",
  budget: "Stopped at the budget",
  limit: "Stopped at the limit of this run",
  quota: "Stopped: the account is out of money",
  authentication: "Stopped: the key was refused",
  gave_up: "Gave up on the API: run it again later",
  disk: "Stopped: the disk is full",
  failed: "Stopped at a failure",
};

const numbers = new Intl.NumberFormat("en");
const dates = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

function sayNumber(number) {
  return numbers.format(number);
}

function sayCount(number, one, many = `${one}s`) {
  return `${sayNumber(number)} ${number === 1 ? one : many}`;
}

/** From a dollar on cents; below it as many digits as say something: $12.50, $0.19, $0.042, $0.00013. */
function sayMoney(dollars) {
  const amount = Math.abs(dollars);
  const digits = amount >= 1 || amount === 0 ? 2 : Math.min(9, 2 - Math.floor(Math.log10(amount)));
  const said = amount.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: digits });
  return `${dollars < 0 ? "-" : ""}$${said}`;
}

function sayBytes(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${unit && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

function sayDuration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function sayTime(seconds) {
  return dates.format(new Date(seconds * 1000));
}

/** 1024x1536 becomes 1024×1536; any other size is said as it is. */
function saySize(size) {
  return size.replace(/^(\d+)x(\d+)$/, "$1×$2");
}

/** What stands in place of a prompt where there is none, as for a variation. */
function sayPrompt(card) {
  if (card.prompt) return card.prompt;
  const inputs = (card.inputs || []).join(", ");
  if (card.operation === "variations") return inputs ? `Variation of ${inputs}` : "Variation";
  return card.id || "No prompt";
}

/** The address of a file beside the page; a name can hold nothing that would make it another kind of address. */
function toAddress(file) {
  return file.split("/").map(encodeURIComponent).join("/");
}

/** The name that an address ends in, or nothing where it is not written as an address is. */
function toName(hash) {
  try {
    return decodeURIComponent(hash.slice(1));
  } catch {
    return "";
  }
}

const SHOWN = new Set(["image/png", "image/jpeg", "image/webp", "image/gif", "image/svg+xml"]);

/** Why an image is not shown: browsers differ in the other formats, and do not say whether it was that. */
function sayMissing(card) {
  if (SHOWN.has(card.type)) return "The file is not there";
  return `This browser does not show ${card.type || "a file of this format"}, or the file is not there`;
}

/** The shard that a file is in; a browser cannot look into it. */
function toShard(file) {
  const found = /^(.+\.tar)\//.exec(file);
  return found && found[1];
}

function drawIcon(name) {
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  icon.setAttribute("aria-hidden", "true");
  icon.append(use);
  return icon;
}

/** An element with a class and a text, which is never taken for markup. */
function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}
