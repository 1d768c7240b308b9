// Looks at a page as it is laid out now and returns what is wrong with it, as a list of {rule, where, what}. A rule says
// what a reader would miss: see the functions that report it. Lengths are CSS pixels.
({ phone, narrow, tips }) => {
  const found = [];
  const report = (rule, el, what) => found.push({ rule, where: name(el), what });

  // name says which element it is, for a person.
  function name(el) {
    const own = el.tagName.toLowerCase() + (el.id ? "#" + el.id : "") +
      (typeof el.className === "string" && el.className ? "." + el.className.trim().replace(/\s+/g, ".") : "");
    const near = el.parentElement && el.parentElement.closest("[id]");
    return near ? own + " in #" + near.id : own;
  }
  const quote = (s) => {
    const text = s.trim().replace(/\s+/g, " ");
    return JSON.stringify(text.length > 60 ? text.slice(0, 60) + "…" : text);
  };

  const styles = new Map();
  function style(el) {
    if (!styles.has(el)) styles.set(el, getComputedStyle(el));
    return styles.get(el);
  }
  // hidden from the eye alone: clipped away, as text for screen readers and links that show when they have the focus are.
  const clipped = (el) => style(el).clipPath === "inset(50%)";
  const shows = new Map();
  function shown(el) {
    if (!shows.has(el)) {
      shows.set(el, el.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !clipped(el) &&
        (!el.parentElement || shown(el.parentElement)));
    }
    return shows.get(el);
  }

  const slack = 1; // rounding
  const scrolls = (el) => /auto|scroll/.test(style(el).overflowX + style(el).overflowY);
  // announced: those without a mouse, or without sight, find the container that scrolls.
  const announced = (el) => el.tabIndex >= 0 && (el.ariaLabel || el.getAttribute("aria-labelledby")) && el.role;

  // visible returns what is to be seen of a rectangle in an element, and reports what no scrolling shows.
  function visible(el, rect, what) {
    let box = { left: rect.left, right: rect.right, top: rect.top, bottom: rect.bottom };
    for (let a = el; a && a !== document.documentElement; a = a.parentElement) {
      const s = style(a);
      if (s.overflowX === "visible" && s.overflowY === "visible" || s.display === "inline" && a.tagName !== "svg" ||
        a === document.body) continue;
      const clip = a.getBoundingClientRect();
      if (scrolls(a)) {
        if (!announced(a) && (a.scrollWidth > a.clientWidth + slack || a.scrollHeight > a.clientHeight + slack)) {
          report("scroller", a, "scrolls, but has no tabindex, role and aria-label");
        }
        if (narrow && a.scrollWidth > a.clientWidth + slack) report("sideways", a, "has to be scrolled sideways");
      } else if (box.left < clip.left - slack || box.right > clip.right + slack || box.top < clip.top - slack ||
        box.bottom > clip.bottom + slack) {
        report("cut off", a, what + " is cut off");
      }
      box = { left: Math.max(box.left, clip.left), right: Math.min(box.right, clip.right),
        top: Math.max(box.top, clip.top), bottom: Math.min(box.bottom, clip.bottom) };
      if (box.right <= box.left || box.bottom <= box.top) return null;
    }
    if (box.left < -slack || box.right > innerWidth + slack) {
      report("outside", el, `${what} is at ${Math.round(box.left)} to ${Math.round(box.right)} of ${innerWidth}`);
    }
    return box;
  }

  const elements = [...document.body.querySelectorAll("*")].filter((e) => !e.closest("svg svg, template") && shown(e));
  const noText = new Set(["SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE", "title", "desc", "TEXTAREA", "OPTION"]);

  // Texts with the place of each of their lines.
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const el = node.parentElement;
    if (!node.data.trim() || noText.has(el.tagName) || !shown(el)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of el.closest("svg text") ? [el.getBoundingClientRect()] : range.getClientRects()) {
      if (rect.width < 1 || rect.height < 1) continue;
      const box = visible(el, rect, quote(node.data));
      if (box) texts.push({ node, el, box });
    }
  }

  // outside: boxes beyond the edge of the page, whatever is in them.
  if (document.scrollingElement.scrollWidth > innerWidth + slack) {
    report("outside", document.body, `the page is ${document.scrollingElement.scrollWidth} wide`);
  }
  for (const el of elements) {
    const rect = el.getBoundingClientRect();
    if (rect.width && rect.height && style(el).display !== "contents" && !el.closest("svg *")) visible(el, rect, "its box");
  }

  // spill: content wider than the box that should hold it, that of ::before included.
  for (const el of elements) {
    if (el.clientWidth && !el.closest("svg") && !scrolls(el) && !/^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName) &&
      el.scrollWidth > el.clientWidth + slack && style(el).overflowX === "visible") {
      report("spill", el, `${el.scrollWidth} wide in ${el.clientWidth}: ${quote(el.textContent)}`);
    }
  }

  // overlap: texts on one another. A line's box is higher than its letters, so that lines may share some of it.
  const floats = (el) => !!el && (/fixed|sticky/.test(style(el).position) || floats(el.parentElement));
  const letters = texts.map((t) => {
    const spare = 0.18 * (t.box.bottom - t.box.top);
    return { ...t, left: t.box.left + 0.5, right: t.box.right - 0.5, top: t.box.top + spare, bottom: t.box.bottom - spare };
  }).sort((a, b) => a.top - b.top);
  letters.forEach((a, i) => {
    for (let j = i + 1; j < letters.length && letters[j].top < a.bottom; j++) {
      const b = letters[j];
      if (a.node !== b.node && a.left < b.right && b.left < a.right && floats(a.el) === floats(b.el)) {
        report("overlap", a.el, quote(a.node.data) + " and " + quote(b.node.data));
      }
    }
  });

  // small: text that nobody reads on a phone.
  for (const t of texts) {
    const svg = t.el.closest("svg text") && t.el.getScreenCTM();
    const size = parseFloat(style(t.el).fontSize) * (svg ? Math.hypot(svg.a, svg.b) : 1);
    if (size < 9) report("small", t.el, `${quote(t.node.data)} is ${size.toFixed(1)} high`);
  }

  // contrast: WCAG 2.2, AA.
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d",
    { willReadFrequently: true });
  const colors = new Map();
  function color(css) {
    if (!colors.has(css)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = css;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      colors.set(css, [r, g, b, a / 255]);
    }
    return colors.get(css);
  }
  const over = ([r, g, b, a], under) => [r, g, b].map((c, i) => a * c + (1 - a) * under[i]);
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.background = "Canvas";
  const paper = color(getComputedStyle(probe).backgroundColor).slice(0, 3);
  probe.remove();
  const grounds = new Map([[null, paper]]);
  function ground(el) {
    if (!grounds.has(el)) grounds.set(el, over(color(style(el).backgroundColor), ground(el.parentElement)));
    return grounds.get(el);
  }
  const luminance = (rgb) => rgb.reduce((sum, c, i) => {
    const v = c / 255;
    return sum + [0.2126, 0.7152, 0.0722][i] * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  }, 0);
  const opacities = new Map([[null, 1]]);
  function opacity(el) {
    if (!opacities.has(el)) opacities.set(el, parseFloat(style(el).opacity) * opacity(el.parentElement));
    return opacities.get(el);
  }
  for (const t of texts) {
    if (t.el.closest(":disabled, [aria-disabled=true]")) continue;
    const s = style(t.el), under = ground(t.el);
    const [r, g, b, a] = color(t.el.closest("svg text") ? s.fill : s.color);
    const x = luminance(over([r, g, b, a * opacity(t.el)], under)), y = luminance(under);
    const ratio = (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
    const size = parseFloat(s.fontSize);
    const large = size >= 24 || size >= 18.66 && parseInt(s.fontWeight) >= 700;
    if (ratio < (large ? 3 : 4.5)) report("contrast", t.el, `${quote(t.node.data)} has ${ratio.toFixed(2)}`);
  }

  // tap: targets for a finger have 24 × 24 pixels, links in a sentence excepted (WCAG 2.2, 2.5.8).
  const inSentence = (el) => style(el).display === "inline" &&
    [...el.parentElement.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && /\p{L}/u.test(n.data));
  if (phone) {
    for (const el of elements) {
      if (!el.matches("a[href], button, summary, select, textarea, input:not([type=hidden])") || inSentence(el)) continue;
      const { width, height } = el.getBoundingClientRect();
      if (width < 24 || height < 24) report("tap", el, `${quote(el.textContent)}: ${width.toFixed()} × ${height.toFixed()}`);
    }
  }

  // names: for those who do not see the page.
  const named = (el) => el.ariaLabel || el.getAttribute("aria-labelledby") || el.textContent.trim() || el.title ||
    el.labels?.length || el.alt;
  for (const el of elements) {
    if (el.closest("[aria-hidden=true]")) continue;
    if (el.matches("svg") && !(el.role && el.ariaLabel)) report("name", el, "a picture without a role and a label");
    if (el.matches("img, canvas") && !el.hasAttribute("alt") && !el.ariaLabel) report("name", el, "a picture without alt");
    if (el.matches("a[href], button, summary, select, textarea, input:not([type=hidden])") && !named(el)) {
      report("name", el, "a control without a name");
    }
    if (el.matches("[tabindex]") && el.tabIndex >= 0 && !(el.role && el.ariaLabel || named(el))) {
      report("name", el, "takes the focus without a name");
    }
    if (el.matches("[role=img] [tabindex='0']")) report("name", el, "takes the focus inside a picture");
    if (el.matches("th:not([scope])")) report("name", el, `the header ${quote(el.textContent)} has no scope`);
    if (el.matches("table") && !el.caption && !el.ariaLabel && !el.hasAttribute("aria-labelledby")) {
      report("name", el, "a table without a caption");
    }
  }
  if (!document.documentElement.lang) report("name", document.documentElement, "no language");
  if (!document.title.trim()) report("name", document.documentElement, "no title");
  let level = 0;
  for (const h of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    const n = +h.tagName[1];
    if (n > level + 1) report("heading", h, `h${n} follows h${level}: ${quote(h.textContent)}`);
    level = n;
  }
  // break: what a page of paper ends in the middle of, or right after a heading.
  if (matchMedia("print").matches) {
    const kept = (el) => el && (style(el).breakInside === "avoid" || kept(el.parentElement));
    for (const el of elements) {
      if (el.matches("tr, figure, svg, img") && !kept(el)) report("break", el, "a page may end within it");
      if (/^H\d$/.test(el.tagName) && style(el).breakAfter !== "avoid" && !kept(el)) report("break", el, "a page may end after it");
    }
  }

  const ids = new Set();
  for (const el of document.querySelectorAll("[id]")) {
    if (ids.has(el.id)) report("name", el, "the id is there twice");
    ids.add(el.id);
  }

  // tip: what shows for a part of a plot that has the focus is inside the plot.
  const focus = document.activeElement;
  for (const tip of tips ? document.querySelectorAll("svg [tabindex]") : []) {
    if (!shown(tip)) continue;
    tip.focus({ preventScroll: true });
    const lines = [...tip.querySelectorAll("text")].filter((l) => getComputedStyle(l).visibility === "visible");
    const plot = tip.closest("svg").getBoundingClientRect();
    if (!lines.length) report("tip", tip, "shows nothing when it has the focus");
    for (const l of lines) {
      const r = l.getBoundingClientRect();
      if (r.left < plot.left - slack || r.right > plot.right + slack || r.top < plot.top - slack ||
        r.bottom > plot.bottom + slack) {
        report("tip", tip, quote(l.textContent) + " is outside of the plot");
      }
    }
    tip.blur();
  }
  if (focus && focus !== document.body) focus.focus({ preventScroll: true });

  return { found, ground: luminance(ground(document.body)), texts: texts.length };
}
