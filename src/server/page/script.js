// The page: asks for figures every two seconds and draws them; goes on asking while the server is
// away. Text from the network only ever becomes a text node.
"use strict";

const byId = (id) => document.getElementById(id);

function element(name, text, attributes) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const key in attributes || {}) made.setAttribute(key, attributes[key]);
  return made;
}

function number(value) {
  if (value === null || value === undefined) return "-";
  if (value === 0) return "0";
  if (value >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
  return value < 0.01 ? value.toExponential(1) : value.toFixed(2);
}

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit + 1 < units.length) { value /= 1024; unit += 1; }
  return (unit === 0 ? value.toFixed(0) : value.toFixed(1)) + " " + units[unit];
}

function milliseconds(value) {
  return value === null || value === undefined ? "-" : (value * 1000).toFixed(2) + " ms";
}

function rows(body, lines) {
  const fragment = document.createDocumentFragment();
  for (const line of lines) {
    const row = element("tr");
    for (const cell of line) row.append(element("td", String(cell)));
    fragment.append(row);
  }
  body.replaceChildren(fragment);
}

function showNow(live) {
  const rate = live.per_second;
  const facts = [
    ["messages a second", number(rate.messages)], ["received", bytes(rate.bytes_received) + "/s"],
    ["refused a second", number(rate.replies_5xx)], ["deferred a second", number(rate.replies_4xx)],
    ["quarantined a second", number(rate.quarantined)],
    ["connections", number(live.connections) + " of " + number(live.connections_max)],
    ["durable after, p50", milliseconds(live.latency.p50)],
    ["durable after, p99", milliseconds(live.latency.p99)],
    ["sync, p99", milliseconds(live.sync.p99)], ["processor, cores", number(live.cpu.process)],
    ["DNS questions a second", number(live.dns.questions)],
    ["DNS time-outs a second", number(live.dns.timeouts)],
    ["disk free", bytes(live.disk.free_bytes)], ["log", bytes(live.log.bytes)],
    ["next offset", number(live.log.next)],
    ["log checked before", live.log.verified_seconds === null ? "never"
      : number(live.log.verified_seconds) + " s"],
    ["damaged places", number(live.log.damaged_places)],
  ];
  const fragment = document.createDocumentFragment();
  for (const [name, value] of facts) {
    const group = element("div");
    group.append(element("dt", name), element("dd", value));
    fragment.append(group);
  }
  byId("now").replaceChildren(fragment);
}

function showLive(live) {
  byId("hostname").textContent = live.hostname;
  document.title = "mxring " + live.hostname;
  const state = byId("state");
  state.className = live.accepting ? "" : "bad";
  state.textContent = (live.accepting ? "accepting mail" : "not accepting mail: " + live.reason) +
    "; up " + number(Math.round(live.uptime_seconds)) + " s; version " + live.version;
  showNow(live);
  const refusals = live.refusals.slice().sort((a, b) => b.total - a.total)
    .map((one) => [one.reply, number(one.per_second), number(one.total)]);
  for (const method of ["spf", "dkim", "dmarc"]) {
    for (const result in live.verdicts[method]) {
      const per = live.verdicts[method][result];
      if (per > 0) refusals.push([method + "=" + result, number(per), ""]);
    }
  }
  rows(byId("refusals"), refusals);
  const groups = live.groups.slice().sort((a, b) => b.lag - a.lag);
  byId("group-count").textContent = groups.length;
  rows(byId("groups"), groups.map((one) => [one.group, one.error ? one.state + ": " + one.error
    : one.state, number(one.lag), number(one.lag_seconds), number(one.dead)]));
}

const charts = [
  ["messages a second", ["messages"], number], ["received a second", ["bytes"], bytes],
  ["durable after, p50 and p99", ["latency_p50", "latency_p99"], milliseconds],
  ["sync, p50 and p99", ["sync_p50", "sync_p99"], milliseconds],
  ["replies 4xx and 5xx a second", ["refused_4xx", "refused_5xx"], number],
  ["DMARC pass and fail a second", ["dmarc_pass", "dmarc_fail"], number],
  ["longest lag of a group, records", ["lag_records"], number],
  ["connections", ["connections"], number], ["processor, cores", ["cpu"], number],
  ["disk free", ["disk_free"], bytes],
];

function line(values, top, second) {
  const space = "http://www.w3.org/2000/svg";
  const path = document.createElementNS(space, "path");
  const step = values.length > 1 ? 100 / (values.length - 1) : 0;
  path.setAttribute("d", values.map((value, at) => (at === 0 ? "M" : "L") + (at * step).toFixed(2) +
    " " + (39 - 38 * value / top).toFixed(2)).join(""));
  if (second) path.setAttribute("class", "second");
  return path;
}

function showHistory(history) {
  const fragment = document.createDocumentFragment();
  for (const [title, names, format] of charts) {
    const all = names.map((name) => history.series[name]);
    const top = Math.max(...all.map((values) => Math.max(0, ...values)));
    const last = all.map((values) => format(values.length ? values[values.length - 1] : null));
    const caption = title + ": " + last.join(", ") + "; at most " + format(top);
    const figure = element("figure");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 100 40");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", caption);
    all.forEach((values, at) => svg.append(line(values, top || 1, at > 0)));
    figure.append(element("figcaption", caption), svg);
    fragment.append(figure);
  }
  byId("charts").replaceChildren(fragment);
}

async function ask(path, fields) {
  const ending = new AbortController();
  const timer = setTimeout(() => ending.abort(), 30000);
  try {
    return await fetch(path, {headers: fields || {}, cache: "no-store", signal: ending.signal});
  } finally {
    clearTimeout(timer);
  }
}

let turn = 0;
let away = null;
async function update() {
  try {
    const live = await (await ask("/live")).json();
    showLive(live);
    if (turn % 5 === 0 || away !== null) showHistory(await (await ask("/history")).json());
    away = null;
    turn += 1;
  } catch (error) {
    away = away || new Date();
    byId("state").className = "bad";
    byId("state").textContent = "no answer since " + away.toISOString() + "; asking again";
  }
  setTimeout(update, 2000);
}

function fields() {
  const token = byId("search").elements.token.value;
  if (token) sessionStorage.setItem("token", token);
  return token ? {"Authorization": "Bearer " + token} : {};
}

async function askMail(path) {
  const answer = await ask(path, fields());
  if (!answer.ok) throw new Error((await answer.text()).trim());
  const found = await answer.json();
  if (found.error) throw new Error(found.error);
  return found;
}

async function search(event) {
  event.preventDefault();
  const form = byId("search").elements;
  const query = new URLSearchParams();
  for (const name of ["recipient", "sender", "id"]) {
    if (form[name].value.trim()) query.set(name, form[name].value.trim());
  }
  if (form.refused.checked) query.set("refused", "1");
  const state = byId("search-state");
  byId("story").hidden = true;
  state.className = "";
  state.textContent = "looking ...";
  try {
    const result = await askMail("/search?" + query);
    const fragment = document.createDocumentFragment();
    for (const record of result.records) {
      const item = element("li");
      const open = element("button", record.offset + "  " + record.received_at + "  <" +
        record.mail_from + "> to " + record.rcpt_to.join(", ") + "  " + record.disposition + "  " +
        (record.subject || "(no subject)"), {type: "button"});
      open.addEventListener("click", () => showStory(record.offset));
      item.append(open);
      fragment.append(item);
    }
    byId("found").replaceChildren(fragment);
    state.textContent = result.records.length + " found" + (result.complete ? "" :
      "; looked back to offset " + result.searched_from);
  } catch (error) {
    byId("found").replaceChildren();
    state.className = "bad";
    state.textContent = error.message;
  }
}

function part(story, title, text) {
  if (text === null || text === undefined || text === "") return;
  story.append(element("h3", title), element("pre", text));
}

async function showStory(offset) {
  const story = byId("story");
  try {
    const told = await askMail("/message?offset=" + offset);
    story.replaceChildren();
    part(story, "Message " + (told.record.id || told.record.offset), told.record.subject);
    part(story, "What happened", told.dialogue.join("\n"));
    part(story, "Verdict", told.verdict.join("\n"));
    part(story, "Fields that were added", told.trace);
    part(story, "Groups", told.groups.map((one) => one.group + ": " + one.place).join("\n"));
    part(story, "What it says", JSON.stringify(told.facts, null, 2));
    part(story, "Record", JSON.stringify(told.record, null, 2));
    story.hidden = false;
    story.focus();
  } catch (error) {
    byId("search-state").className = "bad";
    byId("search-state").textContent = error.message;
  }
}

byId("search").elements.token.value = sessionStorage.getItem("token") || "";
byId("search").addEventListener("submit", search);
update();
