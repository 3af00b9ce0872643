"use strict";
// All data is in the tables of the page; this only shows it step by step.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector, within = document) => within.querySelector(selector);
  const make = (tag, text, name) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (name) node.className = name;
    return node;
  };

  all("details.closable").forEach((node) => { node.open = false; });
  const reveal = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (!target) return;
    const box = target.closest("details");
    if (box) { box.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", reveal);
  reveal();

  const theme = one("#theme");
  const asked = matchMedia("(prefers-color-scheme: dark)").matches;
  theme.setAttribute("aria-pressed", asked);
  theme.addEventListener("click", () => {
    const dark = theme.getAttribute("aria-pressed") !== "true";
    theme.setAttribute("aria-pressed", dark);
    root.dataset.theme = dark ? "dark" : "light";
  });

  // The filter
  const rows = all(".verdicts tbody tr");
  const find = one("#find"), scenario = one("#scenario"), shown = one("#shown");
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const verdicts = new Set(all(".chip[aria-pressed=true]").map((c) => c.dataset.verdict));
    let count = 0;
    rows.forEach((row, at) => {
      const fits = verdicts.has(row.dataset.verdict)
        && words.every((word) => texts[at].includes(word))
        && (!scenario || !scenario.value || scenario.value === row.dataset.scenario);
      row.hidden = !fits;
      count += fits;
    });
    shown.value = `${count} of ${rows.length} claims`;
  };
  find.addEventListener("input", filter);
  if (scenario) scenario.addEventListener("input", filter);
  one(".filter").addEventListener("submit", (event) => event.preventDefault());
  all(".chip").forEach((chip) => chip.addEventListener("click", () => {
    chip.setAttribute("aria-pressed", chip.getAttribute("aria-pressed") !== "true");
    filter();
  }));
  filter();

  // Scrolls a box so that a part of it is seen, and leaves the page where it is.
  const show = (box, part) => {
    const outer = box.getBoundingClientRect(), inner = part.getBoundingClientRect();
    const middle = (a, b, c, d) => (b < a + 30 || d > c - 30 ? (b + d) / 2 - (a + c) / 2 : 0);
    box.scrollTop += middle(outer.top, inner.top, outer.bottom, inner.bottom);
    box.scrollLeft += middle(outer.left, inner.left, outer.right, inner.right);
  };

  const players = all(".player").map((node) => {
    const total = Number(node.dataset.steps);
    const lines = all("tr[data-step]", node.parentNode);
    const now = one(".now", node), text = one(".text", node), chart = one(".chart", node);
    const slider = one("input[type=range]", node), where = one(".where", node);
    const play = one("[data-go=play]", node);
    const parts = all(".steps, .reads", node).map((part) => ({
      part,
      numbers: [...part.classList].filter((c) => /^s\d+$/.test(c)).map((c) => Number(c.slice(1))),
    })).filter((item) => item.numbers.length);
    const cells = new Map(all("[data-cell]", node).map((row) => [row.dataset.cell, row]));
    const first = new Map([...cells].map(([name, row]) => [name, one("td", row).textContent]));
    const changes = lines.map((line) => all(".changes li", line).map((item) => [
      one(".cell", item).textContent, one(".new", item).textContent]));
    let at = 0, timer = null, file = null;

    const values = () => {
      const state = new Map(first);
      changes.slice(0, at).forEach((step) => step.forEach(([cell, value]) => state.set(cell, value)));
      const fresh = new Set(at ? changes[at - 1].map(([cell]) => cell) : []);
      cells.forEach((row, name) => {
        one("td code", row).textContent = state.get(name);
        row.classList.toggle("now-changed", fresh.has(name));
      });
      const changed = [...cells.values()].find((row) => row.classList.contains("now-changed"));
      if (changed) show(one(".values", node), changed);
    };

    const spec = (line) => {
      const link = line && one(".place a", line);
      const target = link && document.getElementById(link.hash.slice(1));
      if (!target) { text.replaceChildren(make("h4", "no spec text for this step")); file = null; return; }
      const list = target.closest("ol");
      if (file !== list) {
        file = list;
        const copy = list.cloneNode(true);
        ["id", "tabindex", "role", "aria-label"].forEach((name) => copy.removeAttribute(name));
        all("[id]", copy).forEach((item) => item.removeAttribute("id"));
        text.replaceChildren(make("h4", list.closest("details").dataset.name), copy);
      }
      all(".here", text).forEach((item) => { item.classList.remove("here"); item.removeAttribute("aria-current"); });
      const here = one(".code", text).children[[...list.children].indexOf(target)];
      here.classList.add("here");
      here.setAttribute("aria-current", "step");
      show(text, here);
    };

    const tell = (line) => {
      if (!line) {
        now.replaceChildren(make("p", `Start: nobody has moved yet. ${total} steps follow.`));
        return;
      }
      const head = make("p");
      head.append(make("b", `Step ${at}: ${one(".cpu", line).textContent} `),
        make("span", one(".who", line).firstChild.textContent.trim()));
      const where = one(".who small", line);
      if (where) head.append(make("small", ` (${where.textContent})`));
      const statement = make("p", undefined, "stmt");
      statement.append(make("code", one(".what code", line).textContent));
      now.replaceChildren(head, statement);
      const list = one(".changes ul", line);
      if (list) now.append(list.cloneNode(true));
      all(".came", line).forEach((item) => now.append(make("p", item.textContent, "remark")));
      const origin = one(".origin", line);
      if (origin) now.append(make("p", `kernel: ${origin.textContent}`, "remark"));
      const wrong = one(".wrong", line);
      if (wrong) now.append(make("strong", wrong.textContent, "wrong"));
    };

    const go = (number) => {
      at = Math.max(0, Math.min(total, number));
      slider.value = at;
      where.value = at ? `step ${at} of ${total}` : `start of ${total}`;
      slider.setAttribute("aria-valuetext", where.value);
      let current = null;
      parts.forEach(({ part, numbers }) => {
        const is = numbers.includes(at);
        part.classList.toggle("current", is);
        part.classList.toggle("future", at > 0 && Math.min(...numbers) > at);
        if (is && part.classList.contains("steps")) current = part;
      });
      if (current) show(chart, current);
      if (!at) chart.scrollTop = 0;
      const line = at ? lines[at - 1] : null;
      tell(line);
      spec(line || lines[0]);
      values();
    };
    const stop = () => { clearInterval(timer); timer = null; play.setAttribute("aria-pressed", false); play.textContent = "Play"; };
    const toggle = () => {
      if (timer) { stop(); return; }
      if (at === total) go(0);
      play.setAttribute("aria-pressed", true);
      play.textContent = "Pause";
      timer = setInterval(() => { go(at + 1); if (at === total) stop(); }, 1200);
    };
    const act = (name) => {
      if (name === "play") { toggle(); return; }
      stop();
      const places = { first: 0, back: at - 1, next: at + 1, last: total };
      go(name in places ? places[name] : Number(name));
    };
    all("[data-go]", node).forEach((b) => b.addEventListener("click", () => act(b.dataset.go)));
    slider.addEventListener("input", () => { stop(); go(Number(slider.value)); });
    parts.forEach(({ part, numbers }) => {
      if (part.classList.contains("steps")) part.addEventListener("click", () => act(numbers[0]));
    });
    node.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const keys = { ArrowRight: "next", ArrowLeft: "back", Home: "first", End: "last", " ": "play" };
      const name = keys[event.key];
      if (!name || (name === "play" && event.target.tagName === "BUTTON")) return;
      act(name);
      event.preventDefault();
    });
    go(0);
    return { node, act };
  });

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT/.test(event.target.tagName)) return;
    const name = { n: "next", p: "back" }[event.key];
    if (!name || !players.length) return;
    const focused = players.find((p) => p.node.contains(document.activeElement));
    const far = (p) => Math.abs(p.node.getBoundingClientRect().top - innerHeight / 4);
    (focused || players.reduce((a, b) => (far(b) < far(a) ? b : a))).act(name);
  });

  // Zoom and pan
  all("figure.graph").forEach((figure) => {
    const svg = one("svg", figure), whole = svg.viewBox.baseVal;
    const full = { x: whole.x, y: whole.y, w: whole.width, h: whole.height };
    let view = { ...full };
    const draw = () => svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
    const zoom = (factor, x = 0.5, y = 0.5) => {
      const scale = Math.min(Math.max(view.w * factor, full.w / 40), full.w * 2) / view.w;
      view = {
        x: view.x + view.w * (1 - scale) * x, y: view.y + view.h * (1 - scale) * y,
        w: view.w * scale, h: view.h * scale,
      };
      draw();
    };
    const pan = (dx, dy) => { view.x += view.w * dx; view.y += view.h * dy; draw(); };
    const fit = () => { view = { ...full }; draw(); };
    const acts = { in: () => zoom(0.75), out: () => zoom(1 / 0.75), fit };
    all("[data-zoom]", figure.parentNode).forEach((b) => b.addEventListener("click", () => acts[b.dataset.zoom]()));
    figure.addEventListener("keydown", (event) => {
      const keys = {
        "+": acts.in, "=": acts.in, "-": acts.out, "0": fit,
        ArrowLeft: () => pan(-0.1, 0), ArrowRight: () => pan(0.1, 0),
        ArrowUp: () => pan(0, -0.1), ArrowDown: () => pan(0, 0.1),
      };
      if (event.ctrlKey || event.metaKey || !keys[event.key]) return;
      keys[event.key]();
      event.preventDefault();
    });
    figure.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      const box = svg.getBoundingClientRect();
      zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
      event.preventDefault();
    }, { passive: false });
    let from = null;
    figure.addEventListener("pointerdown", (event) => {
      if (event.target.closest("a")) return;
      from = [event.clientX, event.clientY];
      figure.setPointerCapture(event.pointerId);
      figure.classList.add("drag");
    });
    figure.addEventListener("pointermove", (event) => {
      if (!from) return;
      const matrix = svg.getScreenCTM();
      view.x -= (event.clientX - from[0]) / matrix.a;
      view.y -= (event.clientY - from[1]) / matrix.d;
      from = [event.clientX, event.clientY];
      draw();
    });
    const done = () => { from = null; figure.classList.remove("drag"); };
    figure.addEventListener("pointerup", done);
    figure.addEventListener("pointercancel", done);
  });
})();
