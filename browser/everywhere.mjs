// Every page, as everybody has it: bright and dark, on a phone and on a wall, empty and full, with
// names that mean ill, for a viewer, without a script. SHOTS=DIRECTORY keeps a picture of each.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { EVIL, KEYS, ORGANISATION, axe, fits, harmless, logIn, test, withToken } from "./lib.mjs";

const evil = EVIL;
const hostile = (stream, number, attributes) => ({ stream, number, insert: attributes });

const organisation = {
  ...ORGANISATION,
  hostile: [
    hostile("customer", 0, `"displayName":${JSON.stringify(evil)}`),
    hostile("message", 0, `"preview":${JSON.stringify(evil)},"subject":${JSON.stringify(evil)}`),
    { stream: "note", number: 0, record_hex: Buffer.from(`{"id":"<script>alert(3)</script>\xff"}`, "latin1").toString("hex") },
  ],
};

const shots = process.env.SHOTS;

await test(async (place, browser) => {
  const paths = (id, job) => [
    ["connections", "/"],
    ["summary", `/connections/${id}`],
    ["tables", `/connections/${id}/tables`],
    ["extractions", `/connections/${id}/extractions`],
    ["extraction", `/connections/${id}/extractions/${job}`],
    ["windows", `/connections/${id}/extractions/${job}?table=messages`],
    ["loads", `/connections/${id}/loads`],
    ["rejected", `/connections/${id}/rejected?texts=yes`],
    ["data", `/connections/${id}/data`],
    ["rows", `/connections/${id}/data/customers`],
    ["settings", `/connections/${id}/settings`],
    ["destinations", "/destinations"],
    ["destination", "/destinations/warehouse"],
    ["add-destination", "/add-destination"],
    ["add", "/add"],
    ["notices", "/notices?all=yes"],
    ["users", "/users"],
    ["keys", "/keys"],
    ["channels", "/channels"],
    ["channel", "/channels/ops"],
    ["audit", "/audit"],
    ["me", "/me"],
    ["system", "/system"],
    ["reference", "/reference"],
    ["not-found", "/nowhere"],
  ];
  const open = async (options) => {
    const page = await browser.page(options);
    page.on("dialog", (dialog) => browser.faults.push(`${page.url()} asked: ${dialog.message()}`));
    return page;
  };
  const look = async (page, name, kind) => {
    await axe(page);
    await fits(page);
    await harmless(page);
    if (shots) await page.screenshot({ path: path.join(shots, `${name}-${kind}.png`), fullPage: true });
  };
  if (shots) fs.mkdirSync(shots, { recursive: true });

  const kinds = {
    light: {},
    dark: { colorScheme: "dark" },
    small: { viewport: { width: 360, height: 740 }, colorScheme: "dark" },
    wide: { viewport: { width: 2560, height: 1300 } },
  };

  // Empty: nothing is set up.
  const there = ([, address]) => !/\/(x|warehouse|ops)(\/|$)/.test(address);
  const nothing = [["welcome", "/welcome"], ["welcome-destination", "/welcome/destination"], ...paths("x", "x").filter(there)];
  for (const [kind, options] of Object.entries(kinds)) {
    const first = await open(options);
    await first.goto(`${place.url}/login`);
    await look(first, "first-run", kind);
    await withToken(first, place);
    for (const [name, address] of nothing) {
      await first.goto(place.url + address);
      await look(first, `empty-${name}`, kind);
    }
    await first.close();
  }

  // Full, with names that mean ill.
  await place.api("POST", "/users", { name: "anna", role: "administrator", password: "correct horse battery" });
  await place.api("POST", "/users", { name: "vera", role: "viewer", password: "correct horse battery" });
  await place.connect("support", { display_name: `Support ${evil}` });
  // One that never ran: its pages are empty, too.
  const copy = { display_name: "Idle", schema: "idle", destination: "warehouse", keep_selection: true };
  const { id: still } = await place.api("POST", "/connections/support/clone", copy);
  await place.api("POST", "/keys", { description: evil, role: "viewer" });
  await place.api("POST", "/channels", { name: "ops", type: "webhook", url: "http://127.0.0.1:9/hook" });
  await place.api("PATCH", "/connections/support", { paused: true });
  const [job] = (await place.api("GET", "/connections/support/jobs")).data;
  const idle = ["", "/tables", "/extractions", "/loads", "/rejected", "/data", "/settings"]
    .map((part) => [`idle${part.replace("/", "-")}`, `/connections/${still}${part}`]);
  // A setup that somebody left.
  const setup = await open({});
  await logIn(setup, place, "anna", "correct horse battery");
  await setup.goto(`${place.url}/add`);
  await setup.getByLabel("Name").fill("Later");
  await setup.getByLabel("API key").fill(KEYS.lacking);
  await setup.getByText("Where your organisation is").click();
  await setup.getByLabel(/address|URL/i).first().fill(place.source);
  await setup.locator("main form button.main").click();
  await setup.getByText("org.permission.shortcut.read").first().waitFor();
  const draft = new URL(setup.url()).pathname.split("/")[2];
  await setup.close();
  const steps = ["key", "check", "start", "schedule", "tables"].map((step) => [`add-${step}`, `/add/${draft}/${step}`]);
  for (const [kind, options] of Object.entries(kinds)) {
    const page = await open(options);
    await page.goto(`${place.url}/login`);
    await look(page, "login", kind);
    await logIn(page, place, "anna", "correct horse battery");
    for (const [name, address] of [...paths("support", job.id), ...idle, ...steps]) {
      await page.goto(place.url + address);
      await look(page, name, kind);
    }
    await page.close();
  }

  // A viewer sees the same and no action.
  const viewer = await open({});
  await logIn(viewer, place, "vera", "correct horse battery");
  for (const [name, address] of paths("support", job.id)) {
    const answer = await viewer.goto(place.url + address);
    const hidden = /^\/(users|keys|audit|add|add-destination)$/.test(address);
    assert.equal(answer.status(), hidden ? 403 : address === "/nowhere" ? 404 : 200, `${name}: ${address}`);
    const actions = await viewer.locator("main form[method=post] button:enabled").count();
    assert.equal(actions, address === "/me" ? 1 : 0, `${address}: ${await viewer.locator("main").innerText()}`);
    await axe(viewer);
  }

  // Without a script every page reads well, and forms work.
  const plain = await open({ javaScriptEnabled: false });
  await plain.goto(`${place.url}/login`);
  await plain.getByLabel("Name").fill("anna");
  await plain.getByLabel("Password").fill("correct horse battery");
  await plain.getByRole("button", { name: "Log in" }).click();
  for (const [, address] of [...paths("support", job.id), ...idle, ...steps]) {
    const answer = await plain.goto(place.url + address);
    assert.ok(answer.status() === (address === "/nowhere" ? 404 : 200), address);
    assert.ok((await plain.locator("h1").count()) >= 1, address);
  }
  await plain.goto(`${place.url}/connections/support/settings`);
  await plain.locator("#field-display_name").fill("Renamed");
  await plain.getByRole("button", { name: "Save the name" }).click();
  await plain.getByText("It is called Renamed now.").waitFor();
  await plain.goto(`${place.url}/connections/support/settings`);
  await plain.locator("#field-display_name").fill("");
  await plain.locator("form[action$='/rename']").evaluate((form) => form.setAttribute("novalidate", ""));
  await plain.getByRole("button", { name: "Save the name" }).click();
  await plain.locator("#field-display_name[aria-invalid=true]").waitFor();
}, organisation);
