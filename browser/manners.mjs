// By keyboard alone, two people at once, a service that is started anew under an open page, pages of others.
import assert from "node:assert/strict";
import http from "node:http";
import { ORGANISATION, logIn, tabTo, test } from "./lib.mjs";

const password = "correct horse battery";

await test(async (place, browser) => {
  await place.api("POST", "/users", { name: "anna", role: "administrator", password });
  await place.api("POST", "/users", { name: "otto", role: "operator", password });
  await place.connect();

  // By keyboard alone: in, to the content, into a connection, to the search, paused and resumed.
  const page = await browser.page();
  await page.goto(`${place.url}/login`);
  await page.keyboard.type("anna");
  await page.keyboard.press("Tab");
  await page.keyboard.type(password);
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "anna" }).waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  // Single keys do nothing until they are turned on.
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await tabTo(page, "anna");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/me$/);
  const keys = page.getByRole("checkbox", { name: /Single keys/ });
  await keys.focus();
  await page.keyboard.press("Space");
  await page.reload();
  assert.ok(await keys.isChecked(), "it is kept");
  await page.goto(place.url);
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.type), "search");
  await page.keyboard.type("nothing of that name");
  assert.equal(await page.locator("#connections tbody tr:visible").count(), 0);
  await page.keyboard.press("Control+A");
  await page.keyboard.press("Delete");
  assert.equal(await page.locator("#connections tbody tr:visible").count(), 1);
  await tabTo(page, "support");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/connections\/support$/);
  await tabTo(page, "Pause");
  await page.keyboard.press("Enter");
  await page.getByText("Paused: no slot").waitFor();
  await tabTo(page, "Resume");
  await page.keyboard.press("Enter");
  await page.getByText("Resumed: it runs by its schedule again.").waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("n");
  await page.waitForURL(/\/notices$/);

  // A part that is sent anew takes neither the focus nor what was opened from whoever reads it.
  const kept = await page.evaluate(() => {
    const part = document.createElement("div");
    const text = (n) => `<a href="/a">a</a><a href="/b">${n} b</a><details><summary>Warnings (${n})</summary>x</details>`;
    const tell = (name) => part.dispatchEvent(new CustomEvent(name, { bubbles: true }));
    document.querySelector("main").append(part);
    part.innerHTML = text(1);
    part.querySelector("[href='/b']").focus();
    part.querySelector("details").open = true;
    tell("htmx:sseBeforeMessage");
    part.innerHTML = text(2);
    tell("htmx:sseMessage");
    return [document.activeElement.getAttribute("href"), document.activeElement.textContent, part.querySelector("details").open];
  });
  assert.deepEqual(kept, ["/b", "2 b", true]);

  // Two at once: what one pauses the other sees, and what the other may not do is not offered.
  const other = await browser.page();
  await logIn(other, place, "otto", password);
  assert.equal(await other.getByRole("link", { name: "Add a connection" }).count(), 0);
  assert.equal(await other.getByRole("link", { name: "Settings", exact: true }).count(), 0);
  await page.goto(`${place.url}/connections/support`);
  await other.goto(`${place.url}/connections/support`);
  await other.getByRole("button", { name: "Pause" }).click();
  await other.getByText("Paused: no slot").waitFor();
  // The page of the first is old: its button still says pause, and doing it twice does no harm.
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("Paused: no slot").waitFor();
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByText("Resumed: it runs by its schedule again.").waitFor();
  // Whoever is removed is out at their next step.
  await place.api("DELETE", "/users/otto");
  await other.reload();
  await other.getByRole("button", { name: "Log in" }).waitFor();

  // The service is started anew under an open page of a running job: the page finds it again.
  await page.goto(`${place.url}/connections/support`);
  await page.getByRole("button", { name: "Run now" }).click();
  await page.waitForURL(/\/extractions\/\d/);
  await page.locator("#run[sse-connect]").waitFor();
  await page.evaluate(() => { globalThis.same = true; });
  await place.stop();
  await place.serve();
  await page.locator("#run:not([sse-connect])").waitFor({ timeout: 60_000 });
  assert.ok(await page.evaluate(() => globalThis.same), "without being loaded anew");
  await page.getByText("Coverage").waitFor();
  await page.goto(`${place.url}/connections/support`);
  await page.getByRole("button", { name: "Run now" }).waitFor({ timeout: 60_000 });

  // A new key is copied, or selected where a page may not copy.
  await page.goto(`${place.url}/keys`);
  await page.getByLabel("What for").fill("dbt");
  await page.getByRole("button", { name: "Make it" }).click();
  const made = (await page.locator("#made").innerText()).trim();
  await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
  await page.getByRole("button", { name: "Copy" }).click();
  await page.getByRole("button", { name: "Selected" }).waitFor();
  assert.equal(await page.evaluate(() => getSelection().toString().trim()), made);
  // That page answered a form: the way to look leads back to where the form is.
  await page.getByRole("button", { name: "Dark" }).click();
  await page.waitForURL(/\/keys$/);
  await page.getByRole("heading", { name: "Make a key" }).waitFor();

  // A page of somebody else can neither send forms here nor show this in a frame.
  const jobs = async () => (await place.api("GET", "/connections/support/jobs")).data.length;
  const before = await jobs();
  const evil = http.createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end(`<form id="f" method="post" action="${place.url}/connections/support/jobs"><input name="csrf" value="x"></form>
      <iframe src="${place.url}/connections/support"></iframe><script>document.title = "there"</script>`);
  });
  await new Promise((resolve) => evil.listen(0, "127.0.0.1", resolve));
  const away = await page.context().newPage();
  await away.goto(`http://127.0.0.1:${evil.address().port}/`);
  const framed = away.frames().find((frame) => frame !== away.mainFrame());
  assert.ok(!(await framed.content().catch(() => "")).includes("Extraction"), "not in a frame of others");
  await away.evaluate(() => document.getElementById("f").submit());
  await away.waitForLoadState();
  assert.match(await away.locator("body").innerText(), /may not|not answered|Log in/);
  assert.equal(await jobs(), before, "nothing began");
  evil.close();
}, { ...ORGANISATION, latency_ms: 200 });
