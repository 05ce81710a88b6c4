// Text that means ill in every field that Kustomer's data or a person can fill: it stays text on every page.
import assert from "node:assert/strict";
import http from "node:http";
import { EVIL, KEYS, ORGANISATION, harmless, logIn, test } from "./lib.mjs";

const password = "correct horse battery";
const evil = JSON.stringify(EVIL);
const insert = (stream, members) => ({ stream, number: 0, insert: members });
const organisation = {
  ...ORGANISATION,
  hostile: [
    // Values and names of fields; the first record of each is changed.
    ...["customer", "conversation", "message", "kobject", "user", "tag", "team", "shortcut"].map((stream) =>
      insert(stream, `${evil}:${evil},"name":${evil},"custom${EVIL.length}":{${evil}:[{${evil}:${evil}}]}`)),
    // A whole number beyond 64 bits in a field of such a name, and bytes that are no record.
    { stream: "message", number: 1, insert: `${evil}:123456789012345678901234567890` },
    { stream: "note", number: 0, record_hex: Buffer.from(`{"id":${evil}\xff}`, "latin1").toString("hex") },
  ],
};

await test(async (place, browser) => {
  // A source that answers with it, too.
  const source = http.createServer((_, response) => {
    response.writeHead(400, { "content-type": "application/json", "x-evil": "1" });
    response.end(JSON.stringify({ errors: [{ status: 400, code: EVIL, title: EVIL, detail: EVIL }] }));
  });
  await new Promise((resolve) => source.listen(0, "127.0.0.1", resolve));
  const wrong = `http://127.0.0.1:${source.address().port}`;

  await place.api("POST", "/users", { name: "anna", role: "administrator", password });
  const tables = ["customers", "conversations", "messages", "notes", "kobjects", "users", "tags", "teams", "shortcuts"];
  await place.connect("support", { display_name: EVIL, tables, mask: [`customers.${EVIL}`], new_columns: "off" }, { naming: "stitch" });
  await place.api("POST", "/sources", { name: "broken", type: "kustomer", api_token: KEYS.good, api_url: wrong });
  await place.api("POST", "/connections", {
    name: "broken", display_name: EVIL, source: "broken", destination: "warehouse", schema: "broken",
    tables: ["tags"], schedule: { frequency_minutes: 60 },
  });
  await place.until("/connections/broken/jobs", (jobs) => jobs.data[0]?.report);

  // What a person can fill over HTTP: it is refused, or kept as text.
  const tried = {};
  const attempt = async (method, address, body) => {
    const response = await fetch(`${place.url}/api/v1${address}`, {
      method, body: JSON.stringify(body),
      headers: { authorization: `Bearer ${place.token()}`, "content-type": "application/json" },
    });
    assert.ok(response.status < 500, `${method} ${address}: ${response.status}`);
    tried[`${method} ${address} ${Object.entries(body).find(([, value]) => JSON.stringify(value).includes("data-evil"))?.[0]}`] = response.status;
  };
  await attempt("POST", "/users", { name: EVIL, role: "viewer", password });
  await attempt("POST", "/keys", { description: EVIL, role: "viewer" });
  await place.api("POST", "/channels", { name: "ops", type: "webhook", url: "http://127.0.0.1:9/hook" });
  for (const field of ["name", "url"]) {
    await attempt("POST", "/channels", { name: "hook", type: "webhook", url: "http://127.0.0.1:9/hook", [field]: EVIL });
  }
  await attempt("POST", "/channels", { name: "mail", type: "email", to: [EVIL] });
  for (const field of ["name", "path", "display_name", "naming"]) {
    await attempt("POST", "/destinations", { name: "other", type: "duckdb", path: "other.duckdb", [field]: EVIL });
  }
  await attempt("POST", "/destinations", { name: "distant", type: "postgres", host: EVIL, database: EVIL, user: EVIL, password: EVIL });
  for (const field of ["name", "api_url", "api_token", "start_date", "organization"]) {
    await attempt("POST", "/sources", { name: "other", type: "kustomer", api_token: KEYS.good, [field]: EVIL });
  }
  for (const field of ["name", "schema", "display_name", "tables", "exclude", "hash"]) {
    const body = { name: "other", source: "kustomer", destination: "warehouse", schema: "other", tables: ["tags"], schedule: { frequency_minutes: 60 } };
    await attempt("POST", "/connections", { ...body, [field]: Array.isArray(body[field]) || ["exclude", "hash"].includes(field) ? [EVIL] : EVIL });
  }
  await attempt("PATCH", "/connections/support", { schedule: { cron: EVIL } });
  await attempt("PATCH", "/connections/support", { schedule: { frequency_minutes: 60, time_zone: EVIL } });
  assert.ok(Object.values(tried).some((status) => status < 300), JSON.stringify(tried));

  // Every page shows it as what it is, for whom it is shown.
  const page = await browser.page();
  page.on("dialog", (dialog) => browser.faults.push(`${page.url()} asked: ${dialog.message()}`));
  await logIn(page, place, "anna", password);
  const [job] = (await place.api("GET", "/connections/support/jobs")).data;
  const [failed] = (await place.api("GET", "/connections/broken/jobs")).data;
  const held = (await place.api("GET", "/connections/support/data")).data.map((table) => table.name);
  const query = encodeURIComponent(EVIL);
  const of = "/connections/support";
  const pages = [
    "/", of, `${of}/tables`, `${of}/extractions`, `${of}/loads`, `${of}/loads?table=${query}`, `${of}/rejected?texts=yes`,
    `${of}/rejected?table=${query}`, `${of}/data`, `${of}/settings`, "/connections/broken", "/connections/broken/settings",
    `/connections/broken/extractions/${failed.id}`, `${of}/extractions/${job.id}`, `${of}/extractions/${job.id}?table=messages`,
    `${of}/extractions/${job.id}?search=${query}&level=${query}`, `${of}/extractions/${job.id}/log?search=${query}`,
    "/destinations", "/destinations/warehouse", "/add-destination", "/add", "/notices?all=yes", "/users", "/keys", "/channels", "/channels/ops",
    "/audit", "/me", "/system", "/reference",
    ...held.map((table) => `${of}/data/${encodeURIComponent(table)}`),
  ];
  // Addresses that there are not, or need not be.
  const strange = [
    `/connections/${query}`, `${of}/data/${query}`, `/login?next=${query}`, "/add/other/key", "/add/other/tables",
    "/destinations/other", "/destinations/distant", `/channels/${query}`, `/destinations/${query}`,
  ];
  let shown = 0;
  for (const address of [...pages, ...strange]) {
    const answer = await page.goto(place.url + address);
    if (pages.includes(address)) assert.equal(answer.status(), 200, address);
    await harmless(page);
    shown += (await page.evaluate(() => document.body.textContent)).includes("<i data-evil") ? 1 : 0;
  }
  assert.ok(shown > 12, `it is shown as text on ${shown} pages`);

  // And in every form of every page, sent with it in all its fields at once.
  let sent = 0;
  for (const address of pages) {
    await page.goto(place.url + address);
    const forms = await page.locator("main form[method=post]").count();
    for (let number = 0; number < forms; number += 1) {
      await page.goto(place.url + address);
      const filled = await page.evaluate(([number, evil]) => {
        const form = document.querySelectorAll("main form[method=post]")[number];
        const texts = [...form?.querySelectorAll("input:not([type=hidden],[type=checkbox],[type=radio]), textarea") ?? []];
        for (const one of texts) {
          one.type = "text";
          one.value = evil;
        }
        for (const one of form?.querySelectorAll("select") ?? []) {
          one.add(new Option(evil, evil, true, true));
        }
        if (form) form.noValidate = true;
        return texts.length;
      }, [number, EVIL]);
      if (filled === 0) continue;
      await Promise.all([
        page.waitForEvent("load"),
        page.evaluate((number) => document.querySelectorAll("main form[method=post]")[number].requestSubmit(), number),
      ]);
      await harmless(page);
      sent += 1;
    }
  }
  assert.ok(sent > 15, `${sent} forms were sent`);
  source.close();
}, organisation);
