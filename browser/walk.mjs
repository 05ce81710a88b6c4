// A person who has never seen bobbin: from the first run to the last, without a manual.
import assert from "node:assert/strict";
import { KEYS, ORGANISATION, axe, fits, test } from "./lib.mjs";

const organisation = {
  ...ORGANISATION,
  // One record that cannot be read, and one that the tables do not take under Stitch's names.
  hostile: [
    { stream: "note", number: 0, record_hex: Buffer.from("{\"id\":\"n\xff\"}", "latin1").toString("hex") },
    { stream: "message", number: 2, insert: "\"sentiment\":{\"polarity\":123456789012345678901234567890}" },
  ],
  // Slow enough for the first run to be watched.
  latency_ms: 200,
};

await test(async (place, browser) => {
  const page = await browser.page();
  const button = (name) => page.getByRole("button", { name, exact: true });
  const said = (text) => page.getByText(text).first().waitFor();
  const at = (wanted) => page.waitForURL((url) => wanted.test(url.pathname));

  // First run: the token, the first user, a destination.
  await page.goto(place.url);
  await page.getByLabel("First-run token").fill("not the token");
  await button("Go on").click();
  await said("that is not the token");
  await page.getByLabel("First-run token").fill(place.token());
  await button("Go on").click();
  await at(/^\/welcome/);
  await axe(page);
  await page.getByLabel("Your name").fill("anna");
  await page.getByLabel("Password", { exact: true }).fill("correct horse battery");
  await page.getByLabel("The same password again").fill("correct horse battery");
  await page.locator("main form button.main").click();
  await at(/^\/welcome\/destination/);
  await axe(page);
  await page.getByText("More settings").click();
  await page.getByLabel("Naming").selectOption("stitch");
  await page.locator("main form button.main").first().click();
  await at(/^\/add/);

  // A wrong key, a key that lacks two roles, then a good one; what was entered stays.
  await axe(page);
  await page.getByLabel("Name").fill("Acme Kustomer");
  await page.getByLabel("API key").fill("wrong-key-of-nobody");
  await page.getByText("Where your organisation is").click();
  await page.getByLabel(/address|URL/i).first().fill(place.source);
  await page.locator("main form button.main").click();
  await at(/\/check$/);
  await page.getByText(/refused|does not accept|not accepted|API key/).first().waitFor();
  await page.locator(".note.bad, .state.bad").first().waitFor();
  await axe(page);
  await page.locator("a[href$='/key']").first().click();
  await at(/\/key$/);
  assert.equal(await page.getByLabel("Name").inputValue(), "Acme Kustomer");
  assert.equal(await page.getByLabel("API key").inputValue(), "", "a key is never shown");
  await page.getByLabel("API key").fill(KEYS.lacking);
  await page.locator("main form button.main").click();
  await at(/\/check$/);
  await page.getByText("org.permission.shortcut.read").first().waitFor();
  await page.getByText("org.permission.team.read").first().waitFor();
  await axe(page);
  await page.locator("a[href$='/key']").first().click();
  await page.getByLabel("API key").fill(KEYS.good);
  await page.locator("main form button.main").click();
  await at(/\/check$/);
  await page.locator("a.main[href$='/start'], a.button.main").first().click();

  // How far back, with the forecast.
  await at(/\/start$/);
  await page.locator("#forecast table").waitFor();
  // All of the history is younger than a year: what is foretold is what there is.
  const foretold = await page.locator("#forecast tbody tr").evaluateAll((rows) => Object.fromEntries(
    rows.map((row) => [row.querySelector("th").innerText, row.querySelector("td").innerText])));
  for (const [stream, count] of Object.entries(organisation.counts)) {
    assert.equal(foretold[`${stream}s`], String(count), `${stream}: ${JSON.stringify(foretold)}`);
  }
  await axe(page);
  await page.locator("main form button.main").click();

  // The next times change while the schedule is typed.
  await at(/\/schedule$/);
  const times = () => page.locator("table time[datetime]").evaluateAll((all) => all.map((one) => one.dateTime).join());
  const hourly = await times();
  await page.getByLabel("At the times of a cron expression").check();
  await page.locator("#field-cron").fill("0 30 6 ? * MON-FRI");
  await page.waitForFunction((before) => [...document.querySelectorAll("table time[datetime]")].map((one) => one.dateTime).join() !== before, hourly);
  assert.match(await times(), /T06:30/);
  await axe(page);
  await page.getByLabel("Every so often").check();
  await page.locator("main form button.main").click();

  // Left at any step, it goes on there.
  await at(/\/tables$/);
  await page.goto(place.url);
  await page.getByRole("link", { name: "Complete setup" }).click();
  await at(/\/tables$/);
  await axe(page);
  await page.getByLabel("Find a table or column").fill("kobjects");
  await page.getByLabel("Find a table or column").press("Enter");
  await page.waitForTimeout(300);
  assert.match(new URL(page.url()).pathname, /\/add\/.*\/tables$/, "to search sends nothing");
  await page.getByRole("checkbox", { name: /kobjects/ }).uncheck();
  await page.getByLabel("Find a table or column").fill("");
  await button("Finish and begin the first run").click();

  // The first run, watched to its end.
  await page.waitForURL((url) => /^\/connections\//.test(url.pathname));
  const id = new URL(page.url()).pathname.split("/")[2];
  const jobs = await place.until(`/connections/${id}/jobs`, (jobs) => jobs.data.length > 0);
  await page.goto(`${place.url}/connections/${id}/extractions/${jobs.data[0].id}`);
  assert.equal(await page.locator("#run[sse-connect]").count(), 1, "it still runs");
  // Also while it runs, in the dark and on a phone.
  await axe(page);
  await page.emulateMedia({ colorScheme: "dark" });
  await page.setViewportSize({ width: 360, height: 740 });
  await axe(page);
  await fits(page);
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize({ width: 1280, height: 900 });
  assert.equal(await page.locator("#run[sse-connect]").count(), 1, "it still runs");
  await page.locator(".state", { hasText: "Complete" }).first().waitFor({ timeout: 60_000 });
  await place.until(`/connections/${id}/jobs`, (jobs) => jobs.data[0].report);
  await page.locator("#run:not([sse-connect])").waitFor();
  await said("Coverage");
  await axe(page);
  const rows = await place.api("GET", `/connections/${id}/tables`);
  const loaded = (name, told) => told.data.find((table) => table.stream === name)?.rows.day;
  assert.ok(loaded("messages", rows) > 100);
  assert.equal(loaded("kobjects", rows), undefined, "it was not chosen");

  // Another choice, another run.
  await page.goto(`${place.url}/connections/${id}/tables`);
  await page.getByRole("checkbox", { name: /kobjects/ }).check();
  await page.locator("summary", { hasText: "of tags" }).click();
  await button("Finalize").last().click();
  await said("It counts from the next job on.");
  await button("Run now").click();
  await at(/\/extractions\/\d/);
  await place.until(`/connections/${id}/jobs`, (jobs) => jobs.data.length === 2 && jobs.data[0].report);
  assert.ok(loaded("kobjects", await place.api("GET", `/connections/${id}/tables`)) > 10);

  // The load report.
  await page.goto(`${place.url}/connections/${id}/loads`);
  await page.getByRole("link", { name: "kobjects" }).first().click();
  await said("Loads of kobjects");
  await axe(page);
  await page.goto(`${place.url}/connections/${id}/extractions`);
  assert.equal(await page.locator("tbody tr").count(), 2);
  await axe(page);
  await page.goto(`${place.url}/connections/${id}/data/messages`);
  await said("First rows");
  await axe(page);

  // What was set aside is told; what can be is tried again, and loaded once its reason is mended.
  await page.goto(`${place.url}/connections/${id}/rejected`);
  const reason = "the whole number `sentiment.polarity` is beyond 64 bits";
  await said(reason);
  await said("could not be read as records");
  await axe(page);
  await page.getByRole("button", { name: /^Load messages again/ }).click();
  await said("1 tried again: 0 loaded, 1 set aside again.");
  await said(reason);
  await page.goto(`${place.url}/connections/${id}/tables`);
  await page.locator("summary", { hasText: "of messages" }).click();
  await page.getByLabel("What becomes of messages.sentiment.polarity").selectOption("Leave out");
  await button("Finalize").last().click();
  await said("It counts from the next job on.");
  await page.goto(`${place.url}/connections/${id}/rejected`);
  await page.getByRole("button", { name: /^Load messages again/ }).click();
  await said("1 tried again: 1 loaded.");
  assert.equal(await page.getByText(reason).count(), 0);

  // Pause, resume, reset of one table with what people call it, delete.
  await page.goto(`${place.url}/connections/${id}`);
  await button("Pause").click();
  await said("Paused: no slot of its schedule counts");
  assert.equal((await place.api("GET", `/connections/${id}`)).paused, true);
  await button("Resume").click();
  await said("Resumed: it runs by its schedule again.");
  assert.equal((await place.api("GET", `/connections/${id}`)).paused, false);
  await page.goto(`${place.url}/connections/${id}/settings`);
  await axe(page);
  await page.getByLabel("Which").selectOption("tags");
  await page.getByRole("radio", { name: /They are replaced/ }).check();
  await page.locator("#field-reset").fill("something else");
  await button("Reset").click();
  await said("This is not Acme Kustomer.");
  assert.equal(await page.getByLabel("Which").inputValue(), "tags", "what was chosen stays");
  assert.ok(await page.getByRole("radio", { name: /They are replaced/ }).isChecked());
  await page.locator("#field-reset").fill("Acme Kustomer");
  await button("Reset").click();
  await said("tags is read from the start date again by the next job");
  await page.goto(`${place.url}/connections/${id}/settings`);
  await page.locator("#field-delete").fill("Acme Kustomer");
  await button("Delete the connection").click();
  await said("Its tables stay in the destination.");
  assert.equal((await place.api("GET", "/connections")).data.length, 0);

  // Leaving.
  await button("Log out").click();
  await said("You are logged out.");
}, organisation);
