import { byId, element, problem } from "./dom.js";
import { models } from "./api.js";
import * as chat from "./chat.js";
import * as compare from "./compare.js";

const views = ["chat", "compare"];

// view shows the part of the page that the address names.
function view() {
  const wanted = views.includes(location.hash.slice(1)) ? location.hash.slice(1) : "chat";
  for (const v of views) byId(v + "-view").hidden = v !== wanted;
  for (const a of document.querySelectorAll("nav a")) {
    if (a.hash === "#" + wanted) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  document.title = (wanted === "chat" ? "Chat" : "Compare") + " · phi3conv";
}

addEventListener("hashchange", view);
view();
try {
  const list = await models();
  byId("model").replaceChildren(...list.map((m) => element("option", { value: m.id }, m.id)));
  chat.start();
  compare.start(list);
  document.documentElement.dataset.ready = "yes";
} catch (e) {
  problem(e.message);
}
