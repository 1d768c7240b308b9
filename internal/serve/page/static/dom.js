// Elements. Text of models and users becomes text nodes only: nothing here reads HTML.

// element makes an element. Of props, those with a "-" and role are attributes, on… are listeners, others properties.
export function element(tag, props = {}, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role") el.setAttribute(name, value);
    else el[name] = value;
  }
  el.append(...children);
  return el;
}

export const byId = (id) => document.getElementById(id);

// say tells screen readers something.
export function say(text) {
  byId("status").textContent = text;
}

// problem shows an error until the next thing is tried.
export function problem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

// button makes one that does not send a form.
export function button(text, onclick, props = {}) {
  return element("button", { type: "button", className: "quiet", onclick, ...props }, text);
}

// copy makes a button that copies what text returns.
export function copy(text, label) {
  const b = button(
    "Copy",
    async () => {
      try {
        await navigator.clipboard.writeText(text());
        b.textContent = "Copied";
      } catch {
        b.textContent = "Not allowed";
      }
      setTimeout(() => {
        b.textContent = "Copy";
      }, 1500);
    },
    { "aria-label": label },
  );
  return b;
}

// save lets the user keep a file.
export function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// number reads a field: undefined if it is empty.
export function number(id) {
  const value = byId(id).value.trim();
  return value === "" ? undefined : Number(value);
}

// submitOn sends a form when a key is pressed in a field: Enter alone, or with Ctrl or Cmd.
export function submitOn(field, alone) {
  const meant = (e) =>
    e.key === "Enter" && !e.isComposing && !e.shiftKey && (e.ctrlKey || e.metaKey) !== alone && !e.altKey;
  field.addEventListener("keydown", (e) => {
    if (!meant(e)) return;
    e.preventDefault();
    field.form.requestSubmit();
  });
  // Programs that write for the user may send this although the key was handled, and the line break with it.
  field.addEventListener("keypress", (e) => meant(e) && e.preventDefault());
}
