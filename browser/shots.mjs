// Pictures of every page, bright and dark, empty and full, into the directory SHOTS: how bobbin looks.
import fs from "node:fs";
import path from "node:path";
import { KEYS, ORGANISATION, Place, Browser, logIn, withToken } from "./lib.mjs";

const out = process.env.SHOTS;
fs.mkdirSync(out, { recursive: true });
const password = "correct horse battery";
const organisation = {
  ...ORGANISATION,
  live: true,
  counts: { customer: 5200, conversation: 8400, message: 26000, note: 1900, kobject: 700, user: 45, team: 7, tag: 60, shortcut: 30 },
  history_days: 360,
  latency_ms: 15,
  // Some records that cannot be taken, for several reasons.
  hostile: [
    ...[1500, 1600, 1700].map((number) => ({ stream: "note", number, poison: "invalid_utf8" })),
    ...[20000, 20500].map((number) => ({ stream: "message", number, poison: "missing_id" })),
    { stream: "conversation", number: 8000, poison: "null_id" },
  ],
};
const place = await Place.make(organisation);
const browser = await Browser.open();
const kinds = { light: {}, dark: { colorScheme: "dark" } };
// As high as a person scrolls, and small enough to be kept.
const shot = async (page, name, kind) => {
  const high = await page.evaluate(() => document.documentElement.scrollHeight);
  await page.screenshot({
    path: path.join(out, `${name}-${kind}.jpg`), type: "jpeg", quality: 60, fullPage: true,
    clip: { x: 0, y: 0, width: 1280, height: Math.min(high, 1800) },
  });
};

// Empty.
for (const [kind, options] of Object.entries(kinds)) {
  const page = await browser.page(options);
  await page.goto(`${place.url}/login`);
  await shot(page, "first-run", kind);
  await withToken(page, place);
  for (const [name, address] of [["welcome", "/welcome"], ["welcome-destination", "/welcome/destination"], ["empty-connections", "/"], ["empty-destinations", "/destinations"], ["empty-notices", "/notices"], ["empty-users", "/users"], ["empty-keys", "/keys"], ["empty-channels", "/channels"]]) {
    await page.goto(place.url + address);
    await shot(page, name, kind);
  }
  await page.close();
}

// Full: one that is complete, one whose key lacks roles, one that is paused, one whose source is away.
for (const [name, role] of [["anna", "administrator"], ["otto", "operator"], ["vera", "viewer"]]) {
  await place.api("POST", "/users", { name, role, password });
}
await place.api("POST", "/keys", { description: "Terraform", role: "administrator" });
await place.api("POST", "/keys", { description: "dbt in production", role: "operator" });
await place.api("POST", "/channels", { name: "data_team", type: "slack", url: "http://127.0.0.1:9/hook" });
await place.api("POST", "/channels", { name: "dbt", type: "post_load", url: "http://127.0.0.1:9/loaded" });
await place.api("POST", "/destinations", { name: "warehouse", type: "duckdb", path: "warehouse.duckdb" });
await place.api("POST", "/destinations", { name: "archive", type: "duckdb", path: "archive.duckdb" });
const source = (name, api_token, api_url = place.source) =>
  place.api("POST", "/sources", { name, type: "kustomer", api_token, api_url, start_date: "2025-06-01T00:00:00Z" });
await source("acme", KEYS.good);
await source("acme_trial", KEYS.lacking);
await source("acme_old", KEYS.good, "http://127.0.0.1:9");
const tables = ["customers", "conversations", "messages", "notes", "tags", "users"];
const connection = (name, display_name, of, more = {}) =>
  place.api("POST", "/connections", { name, display_name, source: of, destination: "warehouse", schema: name, tables, schedule: { frequency_minutes: 60 }, ...more });
await connection("acme_europe", "Acme Europe", "acme", { mask: ["customers.displayName"] });
await place.until("/connections/acme_europe/jobs", (jobs) => jobs.data[0]?.report, 120);
await connection("acme_trial", "Acme Trial", "acme_trial", { tables: [...tables, "teams", "shortcuts"] });
await connection("acme_archive", "Acme Archive", "acme", { destination: "archive", tables: ["tags", "users"], schedule: { cron: "0 30 6 ? * MON-FRI", time_zone: "Europe/Berlin" } });
await connection("acme_old", "Acme Old", "acme_old");
await place.api("POST", "/connections/acme_archive/jobs");
for (const name of ["acme_trial", "acme_archive", "acme_old"]) {
  await place.until(`/connections/${name}/jobs`, (jobs) => jobs.data[0]?.report, 120);
}
await place.api("PATCH", "/connections/acme_archive", { paused: true });
await place.api("POST", "/destinations/warehouse/check");
for (let n = 0; n < 3; n += 1) {
  const { job } = await place.api("POST", "/connections/acme_europe/jobs");
  await place.until("/connections/acme_europe/jobs", (told) => told.data.find((one) => one.id === job)?.report, 120);
}
const [last] = (await place.api("GET", "/connections/acme_europe/jobs")).data;
const first = (await place.api("GET", "/connections/acme_europe/jobs")).data.at(-1);
const [failed] = (await place.api("GET", "/connections/acme_old/jobs")).data;
const of = "/connections/acme_europe";
// One that never ran shows what its pages are for.
const copy = { display_name: "Acme Later", schema: "acme_later", destination: "archive", keep_selection: true };
const { id: later } = await place.api("POST", "/connections/acme_europe/clone", copy);
const pages = [
  ["empty-summary", `/connections/${later}`],
  ...["tables", "extractions", "loads", "rejected", "data"].map((part) => [`empty-${part}`, `/connections/${later}/${part}`]),
  ["connections", "/"], ["summary", of], ["summary-failed", "/connections/acme_old"],
  ["tables", `${of}/tables`], ["extractions", `${of}/extractions`],
  ["extraction", `${of}/extractions/${first.id}`], ["extraction-windows", `${of}/extractions/${first.id}?table=messages`],
  ["extraction-failed", `/connections/acme_old/extractions/${failed.id}`], ["extraction-later", `${of}/extractions/${last.id}`],
  ["loads", `${of}/loads`], ["rejected", `${of}/rejected`], ["data", `${of}/data`], ["rows", `${of}/data/conversations`],
  ["settings", `${of}/settings`], ["destinations", "/destinations"], ["destination", "/destinations/warehouse"],
  ["add-destination", "/add-destination"], ["add", "/add"], ["notices", "/notices"], ["users", "/users"], ["keys", "/keys"],
  ["channels", "/channels"], ["channel", "/channels/data_team"], ["reference", "/reference"], ["audit", "/audit"], ["me", "/me"], ["system", "/system"], ["not-found", "/nowhere"],
];
for (const [kind, options] of Object.entries(kinds)) {
  const page = await browser.page(options);
  await page.goto(`${place.url}/login`);
  await shot(page, "login", kind);
  await logIn(page, place, "anna", password);
  for (const [name, address] of pages) {
    await page.goto(place.url + address);
    await page.waitForTimeout(name.startsWith("summary") ? 400 : 150);
    if (name === "tables") await page.locator("summary", { hasText: "of users" }).click();
    if (name === "reference") await page.locator("summary", { hasText: "/reset" }).click();
    await shot(page, name, kind);
  }
  // The wizard, step by step, and a run while it goes on.
  await page.goto(`${place.url}/add`);
  await page.getByLabel("Name").fill(`Acme America ${kind}`);
  await page.getByLabel("API key").fill(KEYS.lacking);
  await page.getByText("Where your organisation is").click();
  await page.getByLabel(/address|URL/i).first().fill(place.source);
  await page.locator("main form button.main").click();
  await page.getByText("org.permission.team.read").first().waitFor();
  await shot(page, "wizard-check", kind);
  await page.locator("a.main[href$='/start'], a.button.main").first().click();
  await page.locator("#forecast table").waitFor();
  await shot(page, "wizard-start", kind);
  await page.locator("main form button.main").click();
  await page.waitForURL(/schedule$/);
  await shot(page, "wizard-schedule", kind);
  await page.locator("main form button.main").click();
  await page.waitForURL(/tables$/);
  await shot(page, "wizard-tables", kind);
  await page.getByRole("button", { name: "Finish and begin the first run" }).click();
  const id = new URL(page.url()).pathname.split("/")[2];
  const jobs = await place.until(`/connections/${id}/jobs`, (told) => told.data.length > 0);
  await page.goto(`${place.url}/connections/${id}/extractions/${jobs.data[0].id}`);
  await page.waitForTimeout(2500);
  await shot(page, "extraction-live", kind);
  await place.until(`/connections/${id}/jobs`, (told) => told.data[0].report, 120);
  await page.close();
}
await browser.chromium.close();
await place.end();
console.log(`${fs.readdirSync(out).length} pictures in ${out}`);
