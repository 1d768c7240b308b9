// Comparisons: tokens coloured by the KL divergence at their place.
import { button, byId, element, number, problem, save, say, submitOn } from "./dom.js";
import { stream } from "./api.js";

const levels = [0.01, 0.05, 0.2, 1]; // nats at which the next colour begins
const levelOf = (kld) => levels.filter((l) => kld >= l).length;

let running = null;
let result = null; // what is shown, and saved

export function start(models) {
  const names = models.map((m) => m.id);
  byId("original").replaceChildren(...names.map((n) => element("option", { value: n }, n)));
  for (const n of names) {
    byId("quantized").append(
      element(
        "label",
        { className: "option" },
        element("input", { type: "checkbox", name: "quantized", value: n }),
        " ",
        n,
      ),
    );
  }
  byId("one-model").hidden = names.length > 1;
  byId("compare-form").hidden = names.length < 2;
  byId("original").addEventListener("change", choose);
  choose();
  byId("compare-form").addEventListener("submit", (e) => {
    e.preventDefault();
    if (!running) run();
  });
  submitOn(byId("prompt"), false);
  byId("compare-stop").addEventListener("click", () => running?.abort());
  byId("compare-view").addEventListener("keydown", (e) => {
    if (e.key === "Escape") running?.abort();
  });
  byId("save-json").addEventListener("click", () =>
    save("compare.json", "application/json", JSON.stringify(exported(), null, 1) + "\n"),
  );
}

// choose lets every model but the original be compared with it.
function choose() {
  const original = byId("original").value;
  for (const box of boxes()) {
    box.disabled = box.value === original;
    box.checked = !box.disabled;
  }
}

const boxes = () => [...byId("quantized").querySelectorAll("input")];
const picked = (name) => byId("compare-form").elements[name].value;

function request() {
  const prompt = byId("prompt").value;
  const body = {
    original: byId("original").value,
    quantized: boxes()
      .filter((b) => b.checked)
      .map((b) => b.value),
    force: picked("force") === "true",
    max_tokens: number("compare-max"),
    temperature: number("compare-temperature"),
    seed: number("compare-seed"),
  };
  if (picked("kind") === "chat") body.messages = [{ role: "user", content: prompt }];
  else body.prompt = prompt;
  return body;
}

async function run() {
  problem("");
  const body = request();
  if (!byId("prompt").value.trim()) return problem("Write a prompt to compare the models with.");
  if (body.quantized.length === 0) return problem("Choose a quantized model.");
  result = { body, begin: null, texts: new Map(), positions: [], ends: [] };
  running = new AbortController();
  busy(true);
  layout(body);
  say("The models are compared.");
  try {
    for await (const event of stream("compare", body, running.signal)) {
      if (event.begin) result.begin = event.begin;
      else if (event.token) addToken(event.token);
      else if (event.position) addPosition(event.position);
      else if (event.end) addEnd(event.end);
    }
    say(
      cards()
        .map((c) => `${c.model}: ${c.says}.`)
        .join(" "),
    );
  } catch (e) {
    if (e.name === "AbortError") say("Stopped.");
    else problem(e.message);
  }
  running = null;
  busy(false);
}

function busy(is) {
  const lost = document.activeElement === byId("compare-stop");
  byId("run").hidden = is;
  byId("compare-stop").hidden = !is;
  byId("compare-view").classList.toggle("busy", is);
  if (lost) byId("prompt").focus();
}

const cards = () => [...result.cards.values()];

// layout makes a card for each model, and empties what was shown before.
function layout(body) {
  result.cards = new Map();
  for (const model of [body.original, ...body.quantized]) {
    const quantized = model !== body.original;
    const card = { model, quantized, tokens: [], n: 0, kld: 0, same: 0 };
    card.figures = element("dl", { className: "figures" });
    card.text = element("div", {
      className: "tokens",
      role: "listbox",
      "aria-label": "Tokens, " + model,
      "aria-orientation": "horizontal",
      onkeydown: (e) => move(card, e),
    });
    card.el = element(
      "article",
      { className: "card", "aria-label": model },
      element("h4", {}, model),
      element("p", { className: "note" }, quantized ? "quantized" : "original"),
      card.figures,
      card.text,
    );
    figures(card);
    result.cards.set(model, card);
  }
  byId("cards").replaceChildren(...cards().map((c) => c.el));
  byId("save-text").replaceChildren(
    ...writers(body).map((w) =>
      button(body.force ? "Save as text" : "Save text of " + w, () => save("compare.txt", "text/plain", textOf(w))),
    ),
  );
  inspect(null);
  byId("results").hidden = false;
}

const writers = (body) => (body.force ? [body.original] : [body.original, ...body.quantized]);

// Cards that show a text: all, where all read the original's.
const showing = (writer) => (result.body.force ? cards() : [result.cards.get(writer)]);

function addToken(token) {
  const { writer } = token;
  if (!result.texts.has(writer)) result.texts.set(writer, []);
  result.texts.get(writer).push(token);
  for (const card of showing(writer)) {
    const quoted = JSON.stringify(token.text || token.token);
    const el = element("span", {
      className: "token",
      role: "option",
      tabIndex: card.tokens.length ? -1 : 0,
      "aria-selected": "false",
      "aria-label": quoted,
    });
    // Line breaks get a sign, and parts of a character, which add no text, their names.
    if (!token.text) el.append(element("span", { className: "part" }, token.token));
    for (const [i, line] of token.text.split("\n").entries())
      el.append(...(i ? [element("span", { className: "part" }, "↵"), "\n"] : []), line);
    const entry = { el, token, position: null };
    el.addEventListener("mouseenter", () => inspect(card, entry));
    el.addEventListener("focus", () => inspect(card, entry));
    el.addEventListener("click", () => el.focus());
    card.tokens.push(entry);
    card.text.append(el);
    if (!card.quantized) figures(card);
  }
}

function addPosition(p) {
  result.positions.push(p);
  const card = result.cards.get(p.model),
    entry = card.tokens[p.index];
  entry.position = p;
  entry.el.classList.add("k" + levelOf(p.kld));
  entry.el.classList.toggle("other", !p.same_top);
  entry.el.setAttribute(
    "aria-label",
    `${entry.el.ariaLabel}, ${nats(p.kld)} nats${p.same_top ? "" : ", another token is likeliest"}`,
  );
  card.n++;
  card.kld += p.kld;
  card.same += p.same_top;
  figures(card);
  if (inspected?.entry === entry) inspect(card, entry);
}

function addEnd(end) {
  result.ends.push(end);
  const card = result.cards.get(end.model);
  card.end = end;
  figures(card);
}

const nats = (x) => (x === 0 ? "0" : x < 1e-4 ? x.toExponential(1) : x.toPrecision(3));
const percent = (lnp) => {
  const p = 100 * Math.exp(lnp);
  return p >= 0.1 ? p.toFixed(1) + " %" : p >= 1e-3 ? p.toFixed(3) + " %" : p.toExponential(0) + " %";
};

const speed = (x) => x.toFixed(x < 100 ? 1 : 0) + " tokens/s";

function figures(card) {
  const list = [];
  if (card.quantized) {
    list.push(
      ["mean KLD", card.n ? nats(card.kld / card.n) : "–"],
      ["same top token", card.n ? ((100 * card.same) / card.n).toFixed(1) + " %" : "–"],
    );
  }
  const end = card.end;
  if (end?.write_rate) list.push(["writes", speed(end.write_rate)]);
  else if (end?.read_rate) list.push(["reads", speed(end.read_rate)]);
  else list.push(["speed", "–"]);
  if (!card.quantized) list.push(["tokens", String(card.tokens.length)]);
  card.says = list.map(([name, value]) => `${name} ${value}`).join(", ");
  card.figures.replaceChildren(
    ...list.map(([name, value]) => element("div", {}, element("dt", {}, name + " "), element("dd", {}, value))),
  );
}

// move goes through the tokens of a card with the arrow keys.
function move(card, e) {
  const at = card.tokens.findIndex((t) => t.el === document.activeElement);
  const to = {
    ArrowRight: at + 1,
    ArrowDown: at + 1,
    ArrowLeft: at - 1,
    ArrowUp: at - 1,
    Home: 0,
    End: card.tokens.length - 1,
  }[e.key];
  if (at < 0 || to === undefined) return;
  e.preventDefault();
  card.tokens[Math.max(0, Math.min(to, card.tokens.length - 1))].el.focus();
}

let inspected = null;

// inspect shows what both models expected at the place of a token.
function inspect(card, entry) {
  for (const { tokens } of cards()) for (const t of tokens) t.el.classList.remove("at");
  inspected = card && { card, entry };
  const box = byId("inspector");
  if (!card) {
    box.replaceChildren(
      element(
        "p",
        { className: "note" },
        "Point at a token, or go to it with Tab and the arrow keys, to see what the models expected there.",
      ),
    );
    return;
  }
  for (const t of card.tokens) {
    t.el.tabIndex = t === entry ? 0 : -1;
    t.el.setAttribute("aria-selected", String(t === entry));
  }
  for (const other of result.body.force ? cards() : [card]) other.tokens[entry.token.index]?.el.classList.add("at");
  const title = element(
    "p",
    { className: "token-title" },
    element("b", {}, name(entry.token.text || entry.token.token)),
    element("span", { className: "note" }, ` token ${entry.token.index + 1} · ${card.model}`),
  );
  const p = entry.position;
  if (!p) {
    box.replaceChildren(
      title,
      element(
        "p",
        { className: "note" },
        card.quantized || !result.body.force
          ? "Nothing is compared here."
          : "This is the original: the quantized models have the figures.",
      ),
    );
    return;
  }
  title.append(
    element(
      "span",
      { className: "note" },
      ` · KL divergence ${nats(p.kld)} nats · ${p.same_top ? "same likeliest token" : "another token is likeliest"}`,
    ),
  );
  const row = (c) =>
    element(
      "tr",
      { className: c.id === entry.token.id ? "chosen" : "" },
      element(
        "th",
        { scope: "row" },
        name(c.token),
        c.id === entry.token.id ? element("span", { className: "note" }, " came") : "",
      ),
      odds(c.original, "base"),
      odds(c.quantized, "quant"),
    );
  box.replaceChildren(
    title,
    element(
      "table",
      { "aria-label": "Likeliest tokens" },
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          element("th", { scope: "col" }, "token"),
          element("th", { scope: "col" }, "original"),
          element("th", { scope: "col" }, "quantized"),
        ),
      ),
      element("tbody", {}, ...p.candidates.map(row)),
    ),
  );
}

const name = (text) => text.replaceAll("\n", "↵").replace(/^ | $/g, "␣") || "(nothing)";

function odds(lnp, kind) {
  const bar = element("span", { className: "bar " + kind, "aria-hidden": "true" });
  bar.style.width = 100 * Math.exp(lnp) + "%";
  return element(
    "td",
    {},
    element("span", { className: "track", "aria-hidden": "true" }, bar),
    element("span", {}, percent(lnp)),
  );
}

// textOf is the prompt and an answer, as `phi3conv verify --text` reads them. Of a text to continue these are the same
// tokens; a chat's template is left out, since verify reads no special tokens.
function textOf(writer) {
  const answer = (result.texts.get(writer) ?? []).map((t) => t.text).join("");
  const { prompt, messages } = result.body;
  return prompt !== undefined ? prompt + answer : messages[0].content + "\n\n" + answer;
}

// exported is all that is known.
function exported() {
  const { begin, texts, positions, ends, body } = result;
  return {
    ...begin,
    messages: body.messages,
    finished: ends.length > 0,
    texts: [...texts].map(([writer, tokens]) => ({ writer, text: tokens.map((t) => t.text).join(""), tokens })),
    positions,
    models: ends,
  };
}
