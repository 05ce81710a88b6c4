// A bobbin of its own, a simulated Kustomer of its own, and a real browser: for each test anew.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import { createServer } from "node:net";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";
import axeCore from "axe-core";
import { chromium } from "playwright-core";

const bobbin = process.env.BOBBIN;
assert.ok(bobbin, "BOBBIN names the program");

/** A port that nobody has. */
async function port() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A program that says on a line of its output that it is there. */
async function start(args, directory, ready) {
  let said = "";
  const child = spawn(bobbin, args, { cwd: directory, stdio: ["ignore", "pipe", "pipe"] });
  if (process.env.SAID) child.once("exit", (code, signal) => console.error(`${args[0]} ended: ${code} ${signal}\n${said}`));
  child.ended = new Promise((resolve) => child.once("exit", resolve));
  child.stderr.on("data", (data) => { said += data; });
  await new Promise((resolve, reject) => {
    const lines = readline.createInterface({ input: child.stdout });
    lines.on("line", (line) => { said += `${line}\n`; if (line.includes(ready)) resolve(); });
    child.once("exit", (code) => reject(new Error(`${args[0]} ended with ${code}: ${said}`)));
  });
  return child;
}

export const KEYS = {
  good: "key-good",
  // It may not read teams and shortcuts.
  lacking: "key-lacking",
};

const SEARCH = "org.permission.search.create";
const READS = ["user", "tag", "customer", "conversation", "message", "note", "metadata", "klass"];

/** What is simulated, unless a test wants something else. */
export const ORGANISATION = {
  seed: 5,
  tokens: [
    { token: KEYS.good, roles: ["*"] },
    { token: KEYS.lacking, roles: [SEARCH, ...READS.map((name) => `org.permission.${name}.read`)] },
  ],
  counts: { customer: 400, conversation: 500, message: 900, note: 120, kobject: 60 },
  history_days: 120,
  rate: { org_per_minute: 1_000_000, search_per_minute: 1_000_000 },
};

/** A directory with a service in it and a source beside it. */
export class Place {
  static async make(organisation = ORGANISATION) {
    const place = new Place();
    place.directory = fs.mkdtempSync(path.join(os.tmpdir(), "bobbin-browser-"));
    const settings = "home = \"home\"\n[service]\nallow_local = true\n";
    fs.writeFileSync(path.join(place.directory, "bobbin.toml"), settings);
    place.simPort = await port();
    place.port = await port();
    const scenario = path.join(place.directory, "scenario.json");
    fs.writeFileSync(scenario, JSON.stringify(organisation));
    place.source = `http://127.0.0.1:${place.simPort}`;
    place.url = `http://127.0.0.1:${place.port}`;
    const args = ["simulate", "--scenario", scenario, "--port", String(place.simPort)];
    place.simulator = await start(args, place.directory, place.source);
    await place.serve();
    return place;
  }

  async serve() {
    const args = ["serve", "--listen", `127.0.0.1:${this.port}`];
    this.service = await start(args, this.directory, this.url);
  }

  /** Ends the service in order. */
  async stop() {
    this.service.kill("SIGTERM");
    await this.service.ended;
  }

  token() {
    return fs.readFileSync(path.join(this.directory, "home/api-token"), "utf8").trim();
  }

  /** Asks the API. */
  async api(method, address, body) {
    const response = await fetch(`${this.url}/api/v1${address}`, {
      method,
      headers: { authorization: `Bearer ${this.token()}`, "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${address}: ${response.status} ${text}`);
    return text === "" ? null : JSON.parse(text);
  }

  /** Waits until the API says what is looked for. */
  async until(address, done, seconds = 60) {
    const end = Date.now() + seconds * 1000;
    for (;;) {
      const told = await this.api("GET", address);
      if (done(told)) return told;
      assert.ok(Date.now() < end, `${address}: ${JSON.stringify(told).slice(0, 500)}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  /** Sets up what the wizard would. */
  async connect(name = "support", more = {}, settings = {}) {
    const warehouse = { name: "warehouse", type: "duckdb", path: "warehouse.duckdb", ...settings };
    await this.api("POST", "/destinations", warehouse);
    await this.api("POST", "/sources", {
      name: "kustomer", type: "kustomer", api_token: KEYS.good, api_url: this.source,
    });
    await this.api("POST", "/connections", {
      name, source: "kustomer", destination: "warehouse", schema: name,
      tables: ["customers", "conversations", "messages", "notes", "tags", "users"],
      schedule: { frequency_minutes: 60 }, ...more,
    });
    return this.until(`/connections/${name}/jobs`, (jobs) => jobs.data[0]?.report);
  }

  async end() {
    await this.stop();
    this.simulator.kill("SIGKILL");
    await this.simulator.ended;
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A browser whose pages say when something in them is wrong. */
export class Browser {
  static async open() {
    const browser = new Browser();
    // Root may not have a sandbox; nothing but bobbin's own pages is shown.
    const args = ["--no-sandbox", "--disable-dev-shm-usage"];
    browser.chromium = await chromium.launch({ executablePath: "/usr/bin/chromium", args });
    browser.faults = [];
    return browser;
  }

  async page(options = {}) {
    const context = await this.chromium.newContext({
      viewport: { width: 1280, height: 900 }, locale: "en-GB", timezoneId: "Europe/Berlin",
      ...options,
    });
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    page.on("pageerror", (error) => this.faults.push(`${page.url()}: ${error.message}`));
    page.on("console", (message) => {
      const text = message.text();
      // A page that is refused, and what breaks off with its job or its service, are no faults.
      const calm = /status of (4\d\d|503)|net::ERR_|\[object Event\]|htmx:(sendError|afterRequest)/.test(text);
      if (message.type() === "error" && !calm) this.faults.push(`${page.url()}: ${text}`);
    });
    return page;
  }

  async close() {
    await this.chromium.close();
    assert.deepEqual(this.faults, [], "pages are without faults");
  }
}

/** Looks for what people with other eyes and hands could not use (WCAG 2.2 AA). */
export async function axe(page) {
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  await page.evaluate(axeCore.source);
  const found = await page.evaluate(
    (values) => globalThis.axe.run(document, { runOnly: { type: "tag", values } }), tags);
  const told = found.violations.map((one) =>
    `${page.url()}: ${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => `${node.target} ${node.html} ${node.failureSummary}`).join(" | ")}`);
  assert.deepEqual(told, [], "axe finds nothing");
}

/** Nothing of a page is beside it. */
export async function fits(page) {
  const [wide, shown] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(wide <= shown, `${page.url()} is ${wide} wide and ${shown} is shown`);
}

/** Text that would be more than text on a page that does not take care. */
export const EVIL = "'\"><i data-evil onclick=x></i><script data-evil>alert(1)</script><img data-evil src=x onerror=alert(2)>";

/** Nothing of a page was made by such a text: neither an element nor a handler. */
export async function harmless(page) {
  const made = await page.evaluate(() => {
    const all = [...document.querySelectorAll("*")];
    const bad = (one) => [...one.attributes].some(({ name, value }) => name === "data-evil" || name.startsWith("on") || /^\s*javascript:/i.test(value));
    return all.filter(bad).map((one) => one.outerHTML.slice(0, 200));
  });
  assert.deepEqual(made, [], `${page.url()}: text became more than text`);
}

/** Goes on by Tab, as a hand does, until what has the focus is called so. */
export async function tabTo(page, wanted) {
  for (let n = 0; n < 150; n += 1) {
    await page.keyboard.press("Tab");
    const { text, seen } = await page.evaluate(() => {
      const one = document.activeElement;
      const style = getComputedStyle(one);
      const label = one.labels?.[0]?.innerText || one.innerText || one.getAttribute("aria-label") || one.name || "";
      return { text: label.trim(), seen: style.outlineStyle !== "none" && style.outlineWidth !== "0px" };
    });
    if (text.startsWith(wanted)) {
      assert.ok(seen, `the focus on ${wanted} is seen`);
      return;
    }
  }
  assert.fail(`${wanted} is not reached by keyboard at ${page.url()}`);
}

export async function logIn(page, place, name, password) {
  await page.goto(`${place.url}/login`);
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("link", { name }).waitFor();
}

export async function withToken(page, place) {
  await page.goto(`${place.url}/login?by=token`);
  await page.getByLabel("First-run token").fill(place.token());
  await page.getByRole("button", { name: "Go on" }).click();
  await page.waitForURL((url) => !url.pathname.startsWith("/login"));
}

/** Runs a test with a place and a browser of its own. */
export async function test(act, organisation) {
  const place = await Place.make(organisation);
  const browser = await Browser.open();
  try {
    await act(place, browser);
    await browser.close();
  } catch (error) {
    const out = process.env.SHOTS;
    for (const context of browser.chromium.contexts()) {
      for (const page of context.pages()) {
        console.error(`--- ${page.url()}\n${await page.locator("main").innerText().catch(() => "")}`);
        if (out) await page.screenshot({ path: path.join(out, "failed.png"), fullPage: true });
      }
    }
    await browser.chromium.close();
    throw error;
  } finally {
    await place.end();
  }
}
