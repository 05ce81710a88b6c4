// How a browser has pages of a running service: first and largest paint, shifts, how long it is busy, what
// is sent. BASE, TOKEN and PAGES (separated by commas) say which.
import { chromium } from "playwright-core";

const { BASE, TOKEN, PAGES } = process.env;
const rounds = 7;
const median = (all) => all.sort((a, b) => a - b)[Math.floor(all.length / 2)];

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"],
});
console.log(`\nin Chromium, a cold cache each time, medians of ${rounds}\n`);
console.log("| page | first paint ms | largest paint ms | layout shift | ready ms | keystroke to paint ms | sent kB |");
console.log("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
for (const address of PAGES.split(",")) {
  const told = [];
  for (let round = 0; round < rounds; round += 1) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    const page = await context.newPage();
    await page.goto(`${BASE}/login?by=token`);
    await page.locator("#token").fill(TOKEN);
    await page.locator("main button.main").click();
    await page.waitForURL((url) => !url.pathname.startsWith("/login"));
    const cookies = await context.cookies();
    await context.close();
    // Nothing is kept of what the way in needed.
    const fresh = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    await fresh.addCookies(cookies);
    const cold = await fresh.newPage();
    await cold.addInitScript(() => {
      globalThis.seen = { largest: 0, shift: 0, slowest: 0 };
      new PerformanceObserver((list) => { for (const one of list.getEntries()) globalThis.seen.largest = one.startTime; }).observe({ type: "largest-contentful-paint", buffered: true });
      new PerformanceObserver((list) => { for (const one of list.getEntries()) globalThis.seen.shift += one.value; }).observe({ type: "layout-shift", buffered: true });
      new PerformanceObserver((list) => { for (const one of list.getEntries()) globalThis.seen.slowest = Math.max(globalThis.seen.slowest, one.duration); }).observe({ type: "event", buffered: true, durationThreshold: 16 });
    });
    const client = await fresh.newCDPSession(cold);
    await client.send("Network.enable");
    let bytes = 0;
    client.on("Network.loadingFinished", (event) => { bytes += event.encodedDataLength; });
    await cold.goto(BASE + address, { waitUntil: "load" });
    await cold.waitForTimeout(300);
    const search = cold.locator("input[type=search]").first();
    if (await search.count()) {
      await search.click();
      await cold.keyboard.type("con", { delay: 50 });
      await cold.waitForTimeout(200);
    }
    told.push(await cold.evaluate(() => {
      const paint = performance.getEntriesByName("first-contentful-paint")[0];
      const [nav] = performance.getEntriesByType("navigation");
      return { first: paint?.startTime ?? NaN, ready: nav.domContentLoadedEventEnd, ...globalThis.seen };
    }));
    told.at(-1).bytes = bytes;
    await fresh.close();
  }
  const of = (key, digits = 0) => median(told.map((one) => one[key])).toFixed(digits);
  const slowest = of("slowest");
  console.log(`| ${address.replace(/\d{8}T.*/, "…")} | ${of("first")} | ${of("largest")} | ${of("shift", 3)} | ${of("ready")} | ${slowest === "0" ? "under 16" : slowest} | ${(median(told.map((one) => one.bytes)) / 1000).toFixed(1)} |`);
}
await browser.close();
