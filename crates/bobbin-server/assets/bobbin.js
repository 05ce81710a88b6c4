// What pages do with a script that they cannot do without one. Everything works without it but for
// live parts, charts and the reader's own time zone.
"use strict";
(() => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
  const counts = new Intl.NumberFormat();

  /** "3 minutes ago", for instants that are near. */
  function ago(at) {
    const seconds = (at - Date.now()) / 1000;
    const steps = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30]];
    let amount = seconds;
    for (const [unit, next] of steps) {
      if (Math.abs(amount) < next) return relative.format(Math.round(amount), unit);
      amount /= next;
    }
    return null;
  }

  /** Shows instants in the reader's zone and numbers in the reader's way. */
  function localise(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      if (!time.title) time.title = `${time.textContent} (${zone}: ${full.format(at)})`;
      const near = time.hasAttribute("data-ago") ? ago(at) : null;
      time.textContent = near ?? full.format(at);
    }
    for (const number of root.querySelectorAll("data.count")) {
      const value = Number(number.value);
      if (Number.isSafeInteger(value)) number.textContent = counts.format(value);
    }
    for (const told of root.querySelectorAll("[data-zone]")) told.textContent = `in ${zone}`;
  }

  /** Rows of a table that hold what is typed. */
  function filter(input) {
    const wanted = input.value.trim().toLowerCase();
    let shown = 0;
    for (const row of document.querySelectorAll(input.dataset.filter)) {
      row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
      if (!row.hidden) shown += 1;
    }
    const told = document.getElementById(input.dataset.told ?? "");
    if (told) told.textContent = wanted === "" ? "" : `${counts.format(shown)} shown`;
  }

  /** Draws what a chart's data says; the data also stands in a table for those who read it. */
  function draw(element) {
    if (element.dataset.drawn || typeof uPlot === "undefined") return;
    element.dataset.drawn = "yes";
    const told = JSON.parse(document.getElementById(element.dataset.chart).textContent);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const bars = uPlot.paths.bars({ size: [0.7, 60] });
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    // Days are counted in UTC, and told as the reader writes them.
    const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
    const options = {
      width: element.clientWidth, height: 220,
      scales: { y: { range: (_, __, top) => [0, Math.max(top, 1)] } },
      axes: [{ ...axis, values: (_, days) => days.map((at) => day.format(at * 1000)) }, { ...axis, size: 70, values: (_, ticks) => ticks.map((n) => counts.format(n)) }],
      series: [
        { label: "Day", value: (_, at) => (at == null ? "" : new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" }).format(at * 1000)) },
        { label: told.label, fill: colour("--accent"), stroke: colour("--accent"), paths: bars, points: { show: false }, value: (_, n) => (n == null ? "" : counts.format(n)) },
      ],
      // The latest day, until somebody points at another.
      hooks: { ready: [(chart) => chart.setLegend({ idx: told.at.length - 1 })] },
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "UTC"),
    };
    const chart = new uPlot(options, [told.at, told.rows], element);
    new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: 220 })).observe(element);
  }

  function enhance(root) {
    localise(root);
    for (const chart of root.querySelectorAll("[data-chart]")) draw(chart);
  }

  document.addEventListener("input", (event) => {
    if (event.target.matches?.("[data-filter]")) filter(event.target);
  });
  // All boxes of a table at once.
  document.addEventListener("change", (event) => {
    const all = event.target.closest?.("[data-all]");
    if (!all) return;
    for (const box of document.querySelectorAll(all.dataset.all)) {
      if (!box.disabled) box.checked = all.checked;
    }
  });
  // Copies what a button names.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    const text = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(text.textContent.trim());
      button.textContent = "Copied";
    } catch {
      // Over plain HTTP, or where it is not allowed, no page may copy: it is selected to be copied by hand.
      getSelection().selectAllChildren(text);
      button.textContent = "Selected";
    }
  });
  // Keys: / searches, g then c, d, n, s goes; nothing while somebody types, nor for those who did not ask for
  // it: whoever speaks to their computer would go where they do not want.
  const wished = "bobbin-keys";
  const areWished = () => {
    try {
      return localStorage.getItem(wished) === "on";
    } catch {
      return false;
    }
  };
  for (const box of document.querySelectorAll("[data-keys]")) {
    box.checked = areWished();
    box.addEventListener("change", () => localStorage.setItem(wished, box.checked ? "on" : "off"));
    box.closest("[hidden]")?.removeAttribute("hidden");
  }
  let before = "";
  document.addEventListener("keydown", (event) => {
    if (!areWished()) return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    if (event.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (search) { event.preventDefault(); search.focus(); }
    }
    const there = { c: "/", d: "/destinations", n: "/notices", s: "/system" }[event.key];
    if (before === "g" && there) location.href = there;
    before = event.key;
  });
  // A form is sent once.
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (button && event.target.method === "post") setTimeout(() => { button.disabled = true; }, 0);
  });
  addEventListener("pageshow", () => {
    for (const button of document.querySelectorAll("form[method=post] button[disabled]:not([data-off])")) button.disabled = false;
  });

  // Whoever reads a part that is sent anew keeps the focus, and what they opened or closed.
  let kept = null;
  const able = (root) => [...root.querySelectorAll("a[href], summary, button, input, select, [tabindex]")];
  const sign = (element) => `${element.tagName} ${element.getAttribute("href") ?? element.textContent.replace(/\d+/g, "")}`;
  const folds = (root) => [...root.querySelectorAll("details")].map((fold) => [sign(fold.querySelector("summary") ?? fold), fold]);
  document.body.addEventListener("htmx:sseBeforeMessage", (event) => {
    const root = event.target;
    const here = root.contains(document.activeElement) ? document.activeElement : null;
    kept = { root, here: here && sign(here), at: able(root).indexOf(here), open: new Map(folds(root).map(([name, fold]) => [name, fold.open])) };
  });
  document.body.addEventListener("htmx:sseMessage", (event) => {
    const last = kept;
    kept = null;
    if (last?.root !== event.target) return;
    for (const [name, fold] of folds(last.root)) fold.open = last.open.get(name) ?? fold.open;
    if (last.at < 0) return;
    const now = able(last.root);
    (now.find((element) => sign(element) === last.here) ?? now[last.at])?.focus({ preventScroll: true });
  });

  enhance(document);
  document.body.addEventListener("htmx:afterSettle", (event) => enhance(event.target));
  document.body.addEventListener("htmx:sseMessage", (event) => enhance(event.target));
  setInterval(() => localise(document), 30_000);
})();
