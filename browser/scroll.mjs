// How a long log of an extraction scrolls: the time between frames while a wheel turns, and how long it takes from
// a jump until the lines there are read. BASE, TOKEN and PAGE say which.
import { chromium } from "playwright-core";

const { BASE, TOKEN, PAGE } = process.env;
const jumps = 30;
const spell = 5000;
const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"],
});
const page = await (await browser.newContext({ viewport: { width: 1280, height: 900 } })).newPage();
await page.goto(`${BASE}/login?by=token`);
await page.locator("#token").fill(TOKEN);
await page.locator("main button.main").click();
await page.waitForURL((url) => !url.pathname.startsWith("/login"));
const since = Date.now();
await page.goto(BASE + PAGE, { waitUntil: "load" });
await page.locator("#log .log-lines li a").first().waitFor();
const opened = Date.now() - since;
// A long log is read bit by bit meanwhile; the page says how far.
await page.locator("#log p[role=status]").first().waitFor({ state: "detached", timeout: 120_000 });
const read = Date.now() - since;
const lines = Number(await page.locator("#log [data-lines] data").first().getAttribute("value"));
await page.locator("#log .log-lines").scrollIntoViewIfNeeded();
await page.locator("#log .log-lines").hover();

/** Turns a wheel in the log while something happens to its place. */
const frames = async () => {
  await page.evaluate(() => {
    globalThis.frames = [];
    let last = performance.now();
    const step = (now) => { globalThis.frames.push(now - last); last = now; globalThis.going = requestAnimationFrame(step); };
    globalThis.going = requestAnimationFrame(step);
  });
  const end = Date.now() + spell;
  for (let turn = 0; Date.now() < end; turn += 1) await page.mouse.wheel(0, turn % 200 < 150 ? -300 : 300);
  return (await page.evaluate(() => { cancelAnimationFrame(globalThis.going); return globalThis.frames.slice(1); })).sort((a, b) => a - b);
};
const first = () => page.locator("#log .log-lines li a").first().innerText();
const before = await first();
const told = await frames();
if ((await first()) === before) throw new Error("the wheel moved nothing");

/** From a jump anywhere to the moment at which every line that is seen has its text. */
const waits = [];
for (let jump = 0; jump < jumps; jump += 1) {
  waits.push(await page.evaluate(async (share) => {
    const list = document.querySelector("#log .log-lines");
    const begun = performance.now();
    list.scrollTop = (list.scrollHeight - list.clientHeight) * share;
    await new Promise((resolve) => setTimeout(resolve, 0));
    const seen = () => {
      const box = list.getBoundingClientRect();
      return [...list.querySelectorAll("li:not(.space)")].filter((row) => {
        const { top, bottom } = row.getBoundingClientRect();
        return bottom > box.top && top < box.bottom;
      });
    };
    for (;;) {
      await new Promise((resolve) => requestAnimationFrame(resolve));
      const rows = seen();
      // A line that is still to come has its number alone.
      const there = (row) => row.textContent.trim().length > row.querySelector("a").textContent.length;
      if (rows.length > 5 && rows.every(there)) return performance.now() - begun;
      if (performance.now() - begun > 10_000) throw new Error(`no lines at ${share}`);
    }
  }, ((jump * 7919) % 1000) / 1000));
}
waits.sort((a, b) => a - b);
const used = await page.evaluate(() => performance.memory?.usedJSHeapSize ?? 0);
await browser.close();

console.log("\nscrolling that log in Chromium\n");
console.log("| lines | page open ms | all read ms | frame ms, median | 99th percentile | slowest | jump to text ms, median | 99th percentile | script memory MB |");
console.log("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
console.log(`| ${lines.toLocaleString("en")} | ${opened} | ${read} | ${at(told, 0.5).toFixed(1)} | ${at(told, 0.99).toFixed(1)} | ${at(told, 1).toFixed(1)} | ${at(waits, 0.5).toFixed(0)} | ${at(waits, 0.99).toFixed(0)} | ${(used / 1e6).toFixed(0)} |`);
