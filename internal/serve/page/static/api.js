// Requests to the server, and its streams.
import { byId } from "./dom.js";

// ask lets the user write the API key. It returns false if they do not want to.
function ask() {
  const dialog = byId("key-dialog"),
    key = byId("key");
  key.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener(
      "close",
      () => {
        if (dialog.returnValue === "ok") sessionStorage.setItem("key", key.value);
        resolve(dialog.returnValue === "ok");
      },
      { once: true },
    ),
  );
}

async function request(path, init = {}) {
  for (;;) {
    const key = sessionStorage.getItem("key");
    const headers = { ...init.headers, ...(key ? { Authorization: "Bearer " + key } : {}) };
    let answer;
    try {
      answer = await fetch(path, { ...init, headers });
    } catch (e) {
      if (e.name === "AbortError") throw e;
      throw new Error("The server does not answer.");
    }
    if (answer.ok) return answer;
    if (answer.status === 401 && (await ask())) continue;
    const text = await answer.text();
    let message = text;
    try {
      message = JSON.parse(text).error.message;
    } catch {
      /* no error of the API */
    }
    throw new Error(message || `The server answers with status ${answer.status}.`);
  }
}

// models returns what is served: a list of { id, meta }.
export async function models() {
  return (await (await request("v1/models")).json()).data;
}

// stream sends a request and gives the events of its answer as they come.
export async function* stream(path, body, signal) {
  const answer = await request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("The server ended the answer too early.");
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (!event.startsWith("data: ")) continue;
      const data = event.slice(6);
      if (data === "[DONE]") return;
      const got = JSON.parse(data);
      if (got.error) throw new Error(got.error.message);
      yield got;
    }
  }
}
