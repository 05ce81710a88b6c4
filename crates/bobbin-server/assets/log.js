// The log of an extraction as one long list of which only what is seen is there. Without this script the
// page has some lines and links to those before and after them.
"use strict";
(() => {
  const PAGE = 200;
  const MOST_PAGES = 40;
  // Browsers draw no element that is much taller; beyond it a pixel stands for more than its share.
  const TALLEST = 6_000_000;

  class Log {
    constructor(root, list) {
      this.root = root;
      this.list = list;
      this.total = Number(root.querySelector("[data-lines] data").value);
      this.lines = new Map();
      this.asked = new Map();
      // Pages that were asked for and did not come: not again before the next scroll.
      this.vain = new Set();
      this.follows = false;
      this.own = -1;
      this.here = Number(/^#L(\d+)$/.exec(location.hash)?.[1] ?? 0);
      const rows = [...list.querySelectorAll("li")];
      this.row = rows[0].getBoundingClientRect().height || 24;
      for (const row of rows) this.keep(row);
      this.above = document.createElement("li");
      this.below = document.createElement("li");
      for (const space of [this.above, this.below]) {
        space.className = "space";
        space.setAttribute("aria-hidden", "true");
      }
      for (const link of root.querySelectorAll("[data-more]")) link.parentElement.hidden = true;
      this.seen = Math.max(1, Math.floor(list.clientHeight / this.row));
      if (this.here > 0 && this.here <= this.total) {
        this.show();
        // The browser goes to the line by itself, which it does not know the place of.
        if (document.readyState !== "complete") addEventListener("load", () => setTimeout(() => this.show(), 0), { once: true });
      } else {
        this.go(this.total);
      }
      list.addEventListener("scroll", () => this.scrolled());
      list.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
      list.addEventListener("keydown", (event) => this.pressed(event));
      list.addEventListener("click", (event) => this.clicked(event));
      new ResizeObserver(() => { this.seen = Math.max(1, Math.floor(list.clientHeight / this.row)); this.draw(); }).observe(list);
    }

    keep(row) {
      const number = Number(row.id.slice(1));
      if (number > 0) this.lines.set(number, row);
      return number;
    }

    get height() { return Math.min(this.total * this.row, TALLEST); }
    get scaled() { return this.total * this.row > TALLEST; }
    get last() { return Math.max(0, this.total - this.seen); }

    /** Shows the line that was asked for. */
    show() {
      this.go(this.here - 1 - Math.floor(this.seen / 3));
      this.list.scrollIntoView({ block: "nearest" });
    }

    /** Goes where a line is the first that is seen; lines are counted from 0 here. */
    go(top) {
      this.vain.clear();
      this.top = Math.min(Math.max(0, top), this.last);
      this.follows = this.top >= this.last - 1;
      this.draw();
      const most = Math.max(1, this.height - this.list.clientHeight);
      this.own = Math.round(this.scaled ? (this.top / Math.max(1, this.last)) * most : this.top * this.row);
      if (this.follows && !this.scaled) this.own = this.list.scrollHeight;
      this.list.scrollTop = this.own;
      this.own = this.list.scrollTop;
      this.draw();
    }

    scrolled() {
      const place = this.list.scrollTop;
      // Only sidewards, or by ourselves.
      if (Math.abs(place - this.own) < 1) return;
      this.own = place;
      this.vain.clear();
      const most = Math.max(1, this.height - this.list.clientHeight);
      this.top = this.scaled ? (place / most) * this.last : place / this.row;
      this.top = Math.min(Math.max(0, this.top), this.last);
      this.follows = this.top >= this.last - 1;
      this.draw();
    }

    wheeled(event) {
      if (!this.scaled || event.deltaY === 0 || event.ctrlKey) return;
      event.preventDefault();
      const unit = event.deltaMode === 1 ? 1 : event.deltaMode === 2 ? this.seen : 1 / this.row;
      this.go(this.top + event.deltaY * unit);
    }

    pressed(event) {
      const by = { ArrowDown: 1, ArrowUp: -1, PageDown: this.seen - 1, PageUp: 1 - this.seen, Home: -Infinity, End: Infinity }[event.key];
      if (by === undefined || event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input, select")) return;
      event.preventDefault();
      this.go(this.top + by);
    }

    clicked(event) {
      const link = event.target.closest("a");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.here = Number(link.textContent);
      history.replaceState(null, "", link.getAttribute("href"));
      this.draw();
    }

    draw() {
      const margin = 20;
      const place = this.scaled ? this.list.scrollTop - (this.top % 1) * this.row : Math.floor(this.top) * this.row;
      // Near the beginning there may be less room above than lines.
      const before = Math.min(margin, Math.floor(this.top), Math.max(0, Math.floor(place / this.row)));
      const first = Math.floor(this.top) + 1 - before;
      const last = Math.min(this.total, Math.floor(this.top) + this.seen + 2 + margin);
      const rows = [];
      const missing = new Set();
      for (let number = first; number <= last; number += 1) {
        let row = this.lines.get(number);
        if (!row) {
          row = document.createElement("li");
          row.className = "faint";
          row.append(document.createElement("a"), document.createElement("span"));
          row.firstChild.textContent = number;
          const page = Math.floor((number - 1) / PAGE);
          if (!this.vain.has(page)) missing.add(page);
        }
        row.classList.toggle("here", number === this.here);
        rows.push(row);
      }
      const above = Math.max(0, place - before * this.row);
      this.above.style.height = `${above}px`;
      this.below.style.height = `${Math.max(0, this.height - above - rows.length * this.row)}px`;
      // Whoever reads with the keyboard keeps their place.
      const focused = this.list.contains(document.activeElement) ? document.activeElement : null;
      this.list.replaceChildren(this.above, ...rows, this.below);
      if (focused && focused !== this.list && this.list.contains(focused)) focused.focus({ preventScroll: true });
      if (missing.size > 0) this.want(missing);
    }

    /** Asks for pages once whoever scrolls has stopped for a moment. */
    want(pages) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => { for (const page of pages) this.ask(page); }, 60);
    }

    async ask(page) {
      if (this.asked.has(page)) return;
      this.asked.set(page, true);
      try {
        const answer = await fetch(`${this.root.dataset.log}?line=${page * PAGE + 1}&most=${PAGE}`, { credentials: "same-origin" });
        // To the login, once the session is over.
        if (!answer.ok || answer.redirected) throw new Error(answer.statusText);
        const found = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const row of found.querySelectorAll(".log-lines li")) this.keep(document.adoptNode(row));
        const last = Math.min(this.total, (page + 1) * PAGE);
        for (let number = page * PAGE + 1; number <= last; number += 1) {
          if (!this.lines.has(number)) this.vain.add(page);
        }
        this.forget();
        this.draw();
      } catch {
        // It is asked for again when somebody scrolls.
        this.vain.add(page);
      }
      this.asked.delete(page);
    }

    /** Only so many lines are kept. */
    forget() {
      if (this.lines.size <= MOST_PAGES * PAGE) return;
      const near = MOST_PAGES * PAGE / 4;
      for (const number of this.lines.keys()) {
        if (Math.abs(number - this.top) > near) this.lines.delete(number);
      }
    }

    /** Lines that were just written. */
    add(rows) {
      const follows = this.follows;
      for (const row of rows) this.total = Math.max(this.total, this.keep(row));
      const told = this.root.querySelector("[data-lines]");
      if (told) told.textContent = new Intl.NumberFormat().format(this.total);
      this.forget();
      if (follows) this.go(this.total);
      else this.draw();
    }
  }

  let log = null;
  function begin() {
    const root = document.getElementById("log");
    const list = root?.querySelector(".log-lines");
    if (!list || list.dataset.begun || root.hasAttribute("data-filtered")) return;
    list.dataset.begun = "yes";
    log = new Log(root, list);
  }

  begin();
  document.body.addEventListener("htmx:afterSettle", begin);
  document.body.addEventListener("htmx:sseMessage", (event) => {
    if (event.target.id !== "log-news") return;
    const rows = [...event.target.querySelectorAll("li")];
    event.target.replaceChildren();
    const root = document.getElementById("log");
    if (log?.list.isConnected) log.add(rows);
    // The first lines of all; where the service is away, the next lines ask again.
    else if (!root.hasAttribute("data-filtered") && !root.querySelector(".log-lines")) htmx.ajax("GET", root.dataset.log, "#log").catch(() => {});
  });
})();
