// The conversation: a list of { role, content, model?, note?, error? }, kept until the tab is closed.
import { byId, button, copy, element, number, problem, say, submitOn } from "./dom.js";
import { stream } from "./api.js";
import { render } from "./markdown.js";

let messages = [];
let running = null; // what stops the answer

export const fields = ["system", "temperature", "top_p", "top_k", "min_p", "repeat_penalty", "max_tokens", "seed"];

export function start() {
  restore();
  byId("composer").addEventListener("submit", (e) => {
    e.preventDefault();
    const text = byId("message").value.trim();
    if (!text || running) return;
    byId("message").value = "";
    fit();
    messages.push({ role: "user", content: text });
    answer();
  });
  submitOn(byId("message"), true);
  byId("message").addEventListener("input", fit);
  byId("stop").addEventListener("click", stop);
  byId("chat-view").addEventListener("keydown", (e) => {
    if (e.key === "Escape") stop();
  });
  byId("new").addEventListener("click", () => {
    stop();
    messages = [];
    show();
    byId("message").focus();
  });
  byId("settings").addEventListener("change", keep);
  show();
}

function stop() {
  running?.abort();
}

function keep() {
  const settings = Object.fromEntries(fields.map((id) => [id, byId(id).value]));
  try {
    sessionStorage.setItem("chat", JSON.stringify({ messages, settings }));
  } catch {
    /* too long to be kept */
  }
}

function restore() {
  try {
    const kept = JSON.parse(sessionStorage.getItem("chat"));
    for (const m of kept.messages) messages.push(m);
    for (const id of fields) byId(id).value = kept.settings[id];
  } catch {
    /* nothing was kept */
  }
}

// fit makes the field as high as its text.
function fit() {
  const field = byId("message");
  field.style.height = "auto";
  field.style.height = Math.min(field.scrollHeight + 2, 320) + "px";
}

function show() {
  byId("messages").replaceChildren(...messages.map(item));
  byId("empty").hidden = messages.length > 0;
  byId("new").hidden = messages.length === 0;
  keep();
}

// item makes the element of a message.
function item(m, i) {
  const mine = m.role === "user",
    last = i === messages.length - 1;
  const body = element("div", { className: mine ? "plain" : "markdown" });
  if (mine) body.textContent = m.content;
  else render(body, m.content);
  const tools = element(
    "div",
    { className: "tools" },
    copy(() => m.content, "Copy this message"),
  );
  if (mine) tools.append(button("Edit", () => edit(i), { "aria-label": "Edit this message" }));
  if (!mine && last && m.done)
    tools.append(
      button(
        "Again",
        () => {
          messages.pop();
          answer();
        },
        { "aria-label": "Answer again" },
      ),
    );
  const li = element(
    "li",
    { className: mine ? "user" : "assistant" },
    element("h3", { className: "who" }, mine ? "You" : m.model),
    body,
  );
  if (m.error) li.append(element("p", { className: "error" }, m.error));
  li.append(element("div", { className: "foot" }, tools, element("span", { className: "note" }, m.note ?? "")));
  return li;
}

// edit turns a message into a field. What came after it is asked for anew.
function edit(i) {
  if (running) return;
  const li = byId("messages").children[i];
  const cancel = () => {
    show();
    byId("messages").children[i].querySelectorAll("button")[1].focus();
  };
  const field = element("textarea", { value: messages[i].content, rows: 3, "aria-label": "Edit the message" });
  const form = element(
    "form",
    {
      className: "edit",
      onsubmit: (e) => {
        e.preventDefault();
        if (!field.value.trim()) return;
        messages.length = i;
        messages.push({ role: "user", content: field.value.trim() });
        answer();
        byId("message").focus();
      },
      onkeydown: (e) => {
        if (e.key === "Escape") cancel();
      },
    },
    field,
    element(
      "div",
      { className: "row" },
      element("span", { className: "push" }),
      button("Cancel", cancel),
      element("button", { type: "submit", className: "primary" }, "Send"),
    ),
  );
  li.replaceChildren(li.firstChild, form);
  submitOn(field, true);
  field.focus();
}

function request() {
  const body = { model: byId("model").value, stream: true, stream_options: { include_usage: true }, messages: [] };
  for (const id of fields.slice(1)) {
    const value = number(id);
    if (value !== undefined) body[id] = value;
  }
  const system = byId("system").value.trim();
  if (system) body.messages.push({ role: "system", content: system });
  for (const { role, content } of messages) body.messages.push({ role, content });
  return body;
}

// answer asks for the next message and shows it as it comes.
async function answer() {
  problem("");
  const body = request();
  const m = { role: "assistant", content: "", model: body.model };
  messages.push(m);
  running = new AbortController();
  busy(true);
  show();
  const text = byId("messages").lastChild.querySelector(".markdown");
  text.classList.add("coming");
  scroll(true);
  say(m.model + " answers.");
  let first = 0,
    last = 0,
    tokens = 0,
    finish = "",
    drawn = false;
  const draw = () => {
    drawn = false;
    const low = atEnd();
    render(text, m.content);
    scroll(low);
  };
  try {
    for await (const event of stream("v1/chat/completions", body, running.signal)) {
      const choice = event.choices?.[0];
      if (choice?.delta?.content) {
        m.content += choice.delta.content;
        last = performance.now();
        first ||= last;
        if (!drawn) requestAnimationFrame(draw);
        drawn = true;
      }
      finish = choice?.finish_reason ?? finish;
      tokens = event.usage?.completion_tokens ?? tokens;
    }
    m.note = tokens === 1 ? "1 token" : tokens + " tokens";
    if (tokens > 1 && last > first) m.note += `, ${(((tokens - 1) / (last - first)) * 1000).toFixed(1)} a second`;
    if (finish === "length") m.note += ", cut at the limit";
  } catch (e) {
    if (e.name === "AbortError") m.note = "stopped";
    else m.error = e.message;
  }
  m.done = true;
  running = null;
  busy(false);
  const low = atEnd();
  show();
  scroll(low);
  say(m.error ?? byId("messages").lastChild.querySelector(".markdown").textContent);
}

function busy(is) {
  const lost = document.activeElement === byId("stop");
  byId("send").hidden = is;
  byId("stop").hidden = !is;
  byId("chat-view").classList.toggle("busy", is);
  if (lost) byId("message").focus();
}

// atEnd reports whether the end of the page is seen, so that it should stay so.
const atEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 60;

function scroll(low) {
  if (low) window.scrollTo(0, document.documentElement.scrollHeight);
}
