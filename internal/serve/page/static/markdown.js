// Markdown as nodes: CommonMark's blocks and inlines that models write, and GitHub's tables, strikethrough and bare
// addresses. HTML is text, pictures are links, and only http, https and mailto are addresses: no text can do anything
// but be read. The time is about proportional to the text, whatever is in it.
import { element, copy } from "./dom.js";

const deepest = 16; // quotes and lists in one another
const deepestInline = 32;

// render shows a text in a container. What was shown before and is the same stays as it is, selections included.
export function render(container, text) {
  const list = blocks(text.replaceAll("\r\n", "\n").split("\n"), 0);
  const before = shown.get(container) ?? [];
  let same = 0;
  while (same < list.length && same < before.length && list[same].raw === before[same]) same++;
  while (container.childNodes.length > same) container.lastChild.remove();
  for (const block of list.slice(same)) container.append(block.make());
  shown.set(
    container,
    list.map((b) => b.raw),
  );
}

const shown = new WeakMap();

const blank = (line) => line.trim() === "";
const indentOf = (line) => line.length - line.trimStart().length;

// What begins a block. Each pattern looks at a bounded or unambiguous beginning of a line.
const fenceOf = (line) => /^ {0,3}(`{3,}|~{3,})(.*)$/.exec(line);
const headingOf = (line) => /^ {0,3}(#{1,6})(?:[ \t](.*))?$/.exec(line);
const quoteOf = (line) => /^ {0,3}> ?(.*)$/.exec(line);
const itemOf = (line) => /^( *)([-*+]|\d{1,9}[.)])(?: (.*))?$/.exec(line);

function ruleOf(line) {
  const marks = line.replace(/[ \t]/g, "");
  return marks.length >= 3 && "-*_".includes(marks[0]) && [...marks].every((c) => c === marks[0]) && indentOf(line) < 4;
}

function begins(line) {
  const fence = fenceOf(line),
    item = itemOf(line);
  return (
    (fence && !(fence[1][0] === "`" && fence[2].includes("`"))) ||
    headingOf(line) ||
    quoteOf(line) ||
    ruleOf(line) ||
    (item && item[3] && (!/^\d/.test(item[2]) || parseInt(item[2], 10) === 1))
  );
}

// blocks returns the blocks of lines, each with its source and a function that makes its element.
function blocks(lines, depth) {
  const list = [];
  for (let i = 0; i < lines.length;) {
    if (blank(lines[i])) {
      i++;
      continue;
    }
    const [end, make] =
      fenced(lines, i) ??
      heading(lines, i) ??
      rule(lines, i) ??
      (depth < deepest ? (quote(lines, i, depth) ?? items(lines, i, depth)) : null) ??
      table(lines, i) ??
      paragraph(lines, i);
    list.push({ raw: lines.slice(i, end).join("\n") + (end < lines.length ? "\n" : ""), make });
    i = end;
  }
  return list;
}

const all = (lines, depth) => blocks(lines, depth).map((b) => b.make());

function fenced(lines, i) {
  const open = fenceOf(lines[i]);
  if (!open || (open[1][0] === "`" && open[2].includes("`"))) return null;
  const indent = indentOf(lines[i]),
    code = [];
  let end = i + 1;
  for (; end < lines.length; end++) {
    const close = fenceOf(lines[end]);
    if (close && close[1].startsWith(open[1]) && blank(close[2])) break;
    code.push(lines[end].slice(Math.min(indent, indentOf(lines[end]))));
  }
  const text = code.join("\n"),
    language = open[2].trim().split(/\s/)[0];
  return [
    Math.min(end + 1, lines.length),
    () =>
      element(
        "div",
        { className: "code" },
        element(
          "div",
          { className: "code-bar" },
          element("span", {}, language),
          copy(() => text, "Copy the code"),
        ),
        element(
          "pre",
          { tabIndex: 0, role: "region", "aria-label": language ? "Code, " + language : "Code" },
          element("code", {}, text),
        ),
      ),
  ];
}

function heading(lines, i) {
  const h = headingOf(lines[i]);
  if (!h) return null;
  let text = (h[2] ?? "").trim();
  const cut = text.length - /#*$/.exec(text.slice(-8))[0].length;
  if (cut === 0 || text[cut - 1] === " ") text = text.slice(0, cut).trimEnd();
  // Below the page's own headings, of which none may be left out.
  return [
    i + 1,
    () =>
      element(
        "div",
        { role: "heading", "aria-level": h[1].length + 3, className: "heading h" + h[1].length },
        ...inline(text),
      ),
  ];
}

function rule(lines, i) {
  return ruleOf(lines[i]) ? [i + 1, () => element("hr")] : null;
}

function quote(lines, i, depth) {
  if (!quoteOf(lines[i])) return null;
  const inner = [];
  let end = i;
  for (; end < lines.length && !blank(lines[end]); end++) {
    const q = quoteOf(lines[end]);
    if (!q && begins(lines[end])) break;
    inner.push(q ? q[1] : lines[end]);
  }
  return [end, () => element("blockquote", {}, ...all(inner, depth + 1))];
}

function items(lines, i, depth) {
  const first = itemOf(lines[i]);
  if (!first || (first[1].length > 3 && depth === 0)) return null;
  const kind = first[2].at(-1),
    ordered = /\d/.test(first[2]),
    list = [];
  let end = i,
    loose = false;
  while (end < lines.length) {
    const item = itemOf(lines[end]);
    if (!item || item[2].at(-1) !== kind || item[1].length > first[1].length + 3 || ruleOf(lines[end])) break;
    const width = item[1].length + item[2].length + 1,
      inner = [item[3] ?? ""];
    let gap = 0;
    for (end++; end < lines.length; end++) {
      const line = lines[end];
      if (blank(line)) {
        gap++;
        inner.push("");
        continue;
      }
      const deep = indentOf(line) >= Math.min(width, item[1].length + 2);
      if (!deep && (gap > 0 || itemOf(line) || begins(line))) break;
      loose ||= gap > 0 && deep;
      inner.push(line.slice(Math.min(width, indentOf(line))));
      gap = 0;
    }
    inner.length -= gap;
    loose ||= gap > 0 && end < lines.length && itemOf(lines[end])?.[2].at(-1) === kind;
    list.push(inner);
  }
  return [
    end,
    () =>
      element(
        ordered ? "ol" : "ul",
        ordered ? { start: parseInt(first[2], 10) } : {},
        ...list.map((inner) =>
          element(
            "li",
            {},
            ...all(inner, depth + 1).flatMap((el) => (!loose && el.tagName === "P" ? [...el.childNodes] : [el])),
          ),
        ),
      ),
  ];
}

// cells splits a row of a table.
function cells(line) {
  const row = line.trim(),
    list = [""];
  for (let i = row[0] === "|" ? 1 : 0; i < row.length; i++) {
    if (row[i] === "\\" && row[i + 1] === "|") list[list.length - 1] += row[++i];
    else if (row[i] !== "|") list[list.length - 1] += row[i];
    else if (i < row.length - 1) list.push("");
  }
  return list.map((c) => c.trim());
}

function table(lines, i) {
  if (i + 1 >= lines.length || !lines[i].includes("|") || !/^[-:| \t]+$/.test(lines[i + 1])) return null;
  const head = cells(lines[i]),
    marks = cells(lines[i + 1]);
  if (marks.length !== head.length || !marks.every((m) => /^:?-+:?$/.test(m))) return null;
  const align = marks.map((m) => (m.endsWith(":") ? (m[0] === ":" ? "center" : "right") : ""));
  const rows = [];
  let end = i + 2;
  for (; end < lines.length && !blank(lines[end]) && lines[end].includes("|"); end++) rows.push(cells(lines[end]));
  const cell = (tag, props) => (text, n) =>
    element(tag, { className: align[n] ?? "", ...props }, ...inline(text ?? ""));
  return [
    end,
    () =>
      element(
        "div",
        { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Table" },
        element(
          "table",
          { "aria-label": "Table" },
          element("thead", {}, element("tr", {}, ...head.map(cell("th", { scope: "col" })))),
          element("tbody", {}, ...rows.map((r) => element("tr", {}, ...head.map((_, n) => cell("td", {})(r[n], n))))),
        ),
      ),
  ];
}

function paragraph(lines, i) {
  let end = i + 1;
  while (end < lines.length && !blank(lines[end]) && !begins(lines[end])) end++;
  return [
    end,
    () =>
      element(
        "p",
        {},
        ...inline(
          lines
            .slice(i, end)
            .map((l) => l.trimStart())
            .join("\n")
            .trimEnd(),
        ),
      ),
  ];
}

// inline returns the nodes of a text within a block.
function inline(text, depth = 0) {
  const list = []; // nodes, and runs of * _ ~ that may become emphasis
  let plain = "";
  const flush = () => {
    if (plain) list.push(document.createTextNode(plain));
    plain = "";
  };
  const add = (node) => {
    flush();
    list.push(node);
  };
  const ends = brackets(text),
    ticks = lastTicks(text);
  for (let i = 0; i < text.length;) {
    const c = text[i];
    if (c === "\\" && i + 1 < text.length) {
      if (text[i + 1] === "\n") add(element("br"));
      else plain += /[!-/:-@[-`{-~]/.test(text[i + 1]) ? text[i + 1] : "\\" + text[i + 1];
      i += 2;
    } else if (c === "\n") {
      if (plain.endsWith("  ")) add(element("br"));
      plain += "\n";
      i++;
    } else if (c === "`") {
      const n = run(text, i),
        close = ticks.get(n) > i ? closing(text, i + n, n) : -1;
      if (close < 0) plain += text.slice(i, i + n);
      else {
        const code = text.slice(i + n, close).replaceAll("\n", " ");
        add(element("code", {}, code.startsWith(" ") && code.endsWith(" ") && code.trim() ? code.slice(1, -1) : code));
      }
      i = close < 0 ? i + n : close + n;
    } else if (c === "[" || (c === "!" && text[i + 1] === "[")) {
      const link = ends.has(c === "!" ? i + 1 : i) && depth < 4 && linkAt(text, c === "!" ? i + 1 : i, ends, depth);
      if (link) add(link.node);
      else plain += c;
      i = link ? link.end : i + 1;
    } else if (c === "<" || c === "h") {
      const at = c === "<" ? /^<([a-z]+:[^\s<>]{1,2000})>/i.exec(text.slice(i, i + 2010)) : bare(text, i);
      const address = at && safe(at[1]);
      if (address) add(anchor(address, [at[1]]));
      else plain += c;
      i += address ? at[0].length : 1;
    } else if (c === "*" || c === "_" || c === "~") {
      const n = run(text, i);
      add(delimiters(text, i, n));
      i += n;
    } else {
      plain += c;
      i++;
    }
  }
  flush();
  return emphasize(list);
}

function run(text, i) {
  let n = 1;
  while (text[i + n] === text[i]) n++;
  return n;
}

// lastTicks says where the last run of each length of backticks is, so that none is looked for that is not there.
function lastTicks(text) {
  const last = new Map();
  for (const m of text.matchAll(/`+/g)) last.set(m[0].length, m.index);
  return last;
}

function closing(text, i, n) {
  for (; i < text.length; i++) {
    if (text[i] !== "`") continue;
    const m = run(text, i);
    if (m === n) return i;
    i += m - 1;
  }
  return -1;
}

// brackets says which ] belongs to a [.
function brackets(text) {
  const ends = new Map(),
    open = [];
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "[") open.push(i);
    else if (text[i] === "]" && open.length) ends.set(open.pop(), i);
  }
  return ends;
}

// linkAt reads [text](address "title").
function linkAt(text, i, ends, depth) {
  const close = ends.get(i);
  if (text[close + 1] !== "(") return null;
  const rest = text.slice(close + 2, close + 4000);
  const m = /^\s{0,9}(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\([^\s()]*\))*))(?:\s{1,9}(?:"[^"]*"|'[^']*'))?\s{0,9}\)/.exec(
    rest,
  );
  const address = m && safe(m[1] ?? m[2]);
  if (!address) return null;
  const label = text.slice(i + 1, close);
  return { node: anchor(address, label ? inline(label, depth + 1) : [address]), end: close + 2 + m[0].length };
}

// bare reads an address in a text. Marks that end a sentence are not of it.
function bare(text, i) {
  if (i > 0 && /[\p{L}\p{N}]/u.test(text[i - 1])) return null;
  const m = /^https?:\/\/[^\s<>"`]+/.exec(text.slice(i, i + 2000));
  if (!m) return null;
  let end = m[0].length,
    open = 0; // brackets that are closed and not opened
  for (const c of m[0]) open += (c === ")") - (c === "(");
  for (; /[.,:;!?'*_~)\]]/.test(m[0][end - 1]); end--) {
    if (m[0][end - 1] === ")" && open-- <= 0) break;
  }
  return [m[0].slice(0, end), m[0].slice(0, end)];
}

// safe returns an address that may be followed, or "".
function safe(address) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return "";
  }
  return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : "";
}

const anchor = (href, children) => element("a", { href, target: "_blank", rel: "noopener noreferrer" }, ...children);

// delimiters says whether a run may open and close emphasis, by CommonMark's rules.
function delimiters(text, i, n) {
  const before = text[i - 1] ?? " ",
    after = text[i + n] ?? " ";
  const space = (c) => /\s/.test(c),
    mark = (c) => /[\p{P}\p{S}]/u.test(c);
  const left = !space(after) && (!mark(after) || space(before) || mark(before));
  const right = !space(before) && (!mark(before) || space(after) || mark(after));
  const c = text[i],
    word = c === "_";
  return {
    c,
    n: c === "~" && n !== 2 ? 0 : n,
    text: text.slice(i, i + n),
    open: left && (!word || !right || mark(before)),
    close: right && (!word || !left || mark(after)),
  };
}

// emphasize pairs the runs.
function emphasize(list) {
  const isRun = (x) => !(x instanceof Node);
  const none = new Map(); // where there is no opener before, by kind of closer
  for (let i = 0; i < list.length; i++) {
    const closer = list[i];
    if (!isRun(closer) || !closer.close || closer.n === 0) continue;
    const kind = closer.c + (closer.n % 3) + closer.open;
    let o = i - 1;
    const floor = none.get(kind) ?? -1;
    for (; o > floor; o--) {
      const x = list[o];
      if (
        isRun(x) &&
        x.c === closer.c &&
        x.open &&
        x.n > 0 &&
        !((x.close || closer.open) && (x.n + closer.n) % 3 === 0 && !(x.n % 3 === 0 && closer.n % 3 === 0))
      )
        break;
    }
    if (o <= floor) {
      none.set(kind, i - 1);
      continue;
    }
    const opener = list[o],
      used = opener.n >= 2 && closer.n >= 2 ? 2 : 1;
    const inner = list.slice(o + 1, i).map((x) => (isRun(x) ? document.createTextNode(x.c.repeat(x.n) || x.text) : x));
    const level = 1 + Math.max(0, ...inner.map((x) => x.level ?? 0));
    if (level > deepestInline) {
      none.set(kind, i);
      continue;
    }
    const node = element(closer.c === "~" ? "del" : used === 2 ? "strong" : "em", {}, ...inner);
    node.level = level;
    opener.n -= used;
    closer.n -= used;
    list.splice(o + 1, i - o - 1, node);
    i = o + 1; // the closer, again
    if (closer.n === 0) closer.text = "";
    if (opener.n === 0) opener.text = "";
    for (const [k, at] of none) none.set(k, Math.min(at, o));
  }
  return list.map((x) => (isRun(x) ? document.createTextNode(x.n > 0 ? x.c.repeat(x.n) : x.text) : x));
}
