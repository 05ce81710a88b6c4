// From the first run to the first rows without a mouse: every step by Tab, Space, Enter and arrows.
import assert from "node:assert/strict";
import { KEYS, ORGANISATION, tabTo, test } from "./lib.mjs";

await test(async (place, browser) => {
  const page = await browser.page();
  const at = (wanted) => page.waitForURL((url) => wanted.test(url.pathname));
  const press = (key) => page.keyboard.press(key);
  /** Puts a text into the field of that name, in place of what is there. */
  const enter = async (label, text) => {
    await tabTo(page, label);
    await press("Control+A");
    await page.keyboard.type(text);
  };
  const go = async (name) => {
    await tabTo(page, name);
    await press("Enter");
  };

  await page.goto(place.url);
  await enter("First-run token", place.token());
  await press("Enter");
  await at(/^\/welcome$/);
  await enter("Your name", "anna");
  await enter("Password", "correct horse battery");
  await enter("The same password again", "correct horse battery");
  await press("Enter");
  await at(/^\/welcome\/destination/);
  await go("Check and go on");
  await at(/^\/add/);

  // A wrong key first: the way back is a link, and what was entered is there.
  await enter("Name", "Acme Kustomer");
  await enter("API key", "wrong-key-of-nobody");
  await tabTo(page, "Where your organisation is");
  await press("Enter");
  await enter("Address of the API", place.source);
  await go("Check and go on");
  await at(/\/check$/);
  await page.locator(".note.bad, .state.bad").first().waitFor();
  await go("Back to the key");
  await at(/\/key$/);
  await enter("API key", KEYS.good);
  await go("Check and go on");
  await at(/\/check$/);
  await page.locator("a.main[href$='/start'], a.button.main").first().waitFor();
  await go("Go on");
  await at(/\/start$/);
  await go("Go on");
  await at(/\/schedule$/);

  // A choice by arrows, and the next times without a word to a mouse.
  await tabTo(page, "Every so often");
  await press("ArrowDown");
  assert.ok(await page.getByLabel("At the times of a cron expression").isChecked());
  await enter("Cron expression", "0 30 6 ? * MON-FRI");
  await page.locator("#preview time[datetime*='T06:30']").first().waitFor();
  await go("Go on");
  await at(/\/tables$/);
  await tabTo(page, "kobjects");
  await press("Space");
  assert.equal(await page.getByRole("checkbox", { name: /kobjects/ }).isChecked(), false);
  await go("Finish and begin the first run");
  await page.waitForURL((url) => /^\/connections\//.test(url.pathname));
  const id = new URL(page.url()).pathname.split("/")[2];
  await place.until(`/connections/${id}/jobs`, (jobs) => jobs.data[0]?.report?.outcome === "complete");

  // A reset of one table, with the name that it asks for.
  await page.goto(`${place.url}/connections/${id}/settings`);
  await tabTo(page, "Which");
  await page.keyboard.type("tags");
  await enter("To confirm, enter Acme Kustomer", "Acme Kustomer");
  await go("Reset");
  await page.getByText("tags is read from the start date again by the next job").waitFor();
}, ORGANISATION);
