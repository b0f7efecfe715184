"use strict";
// Texts, times and elements. Only text is ever set, so the output of an agent never becomes HTML.

const at = id => document.getElementById(id);

function make(tag, cls, text) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  return node;
}

// Changes a text in place, so that a selection elsewhere stays.
function put(node, text) {
  if (node.firstChild && node.firstChild.nodeType === Node.TEXT_NODE && !node.firstChild.nextSibling) {
    if (node.firstChild.data !== text) node.firstChild.data = text;
  } else if (node.textContent !== text) node.textContent = text;
}

// The units of `daemon status`.
function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + s % 60 + " s";
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s / 60) % 60 + " min";
  return Math.floor(s / 86400) + " d " + Math.floor(s / 3600) % 24 + " h";
}
const bytes = n => (n / 1048576).toFixed(1) + " MiB";
const percent = n => n.toFixed(1) + "%";

// The difference between the clocks of the daemon and of this browser, in milliseconds.
let skew = 0;
const daemonNow = () => Date.now() + skew;
const since = time => (daemonNow() - Date.parse(time)) / 1000;
const absolute = time => {
  const d = new Date(time), two = n => String(Math.abs(n)).padStart(2, "0"), zone = -d.getTimezoneOffset();
  return d.getFullYear() + "-" + two(d.getMonth() + 1) + "-" + two(d.getDate()) + " " + two(d.getHours()) + ":" + two(d.getMinutes())
    + ":" + two(d.getSeconds()) + " " + (zone < 0 ? "-" : "+") + two(Math.trunc(zone / 60)) + ":" + two(zone % 60);
};

// An age that goes on, with the absolute time on hover. `tick` renews all ages on the page.
function age(node, time, before, after) {
  if (node.dataset.time !== time) {
    node.dataset.time = time;
    node.title = absolute(time);
  }
  node.age = { before: before || "", after: after || "" };
  node.classList.add("age");
  renew(node);
  return node;
}
function renew(node) { put(node, node.age.before + span(since(node.dataset.time)) + node.age.after); }
function noAge(node, text) {
  node.classList.remove("age");
  delete node.dataset.time;
  node.removeAttribute("title");
  put(node, text);
}
const ago = time => age(make("span"), time, "", " ago");
