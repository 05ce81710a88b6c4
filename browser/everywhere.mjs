// Every page, as everybody has it: bright and dark, on a phone and on a wall, empty and full, with
// names that mean ill, for a viewer, without a script. SHOTS=DIRECTORY keeps a picture of each.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { ORGANISATION, axe, fits, logIn, test, withToken } from "./lib.mjs";

const evil = "\"><script>alert(1)</script><img src=x onerror=alert(2)>";
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
    ["audit", "/audit"],
    ["me", "/me"],
    ["system", "/system"],
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
    if (shots) await page.screenshot({ path: path.join(shots, `${name}-${kind}.png`), fullPage: true });
  };
  if (shots) fs.mkdirSync(shots, { recursive: true });

  // Empty.
  const first = await open({});
  await first.goto(`${place.url}/login`);
  await look(first, "first-run", "light");
  await withToken(first, place);
  for (const [name, address] of paths("x", "x").filter(([, address]) => !address.includes("/x") && !address.includes("/warehouse"))) {
    await first.goto(place.url + address);
    await look(first, `empty-${name}`, "light");
  }
  await first.close();

  // Full, with names that mean ill.
  await place.api("POST", "/users", { name: "anna", role: "administrator", password: "correct horse battery" });
  await place.api("POST", "/users", { name: "vera", role: "viewer", password: "correct horse battery" });
  await place.connect("support", { display_name: `Support ${evil}` });
  await place.api("POST", "/keys", { description: evil, role: "viewer" });
  await place.api("POST", "/channels", { name: "ops", type: "webhook", url: "http://127.0.0.1:9/hook" });
  await place.api("PATCH", "/connections/support", { paused: true });
  const [job] = (await place.api("GET", "/connections/support/jobs")).data;
  const kinds = {
    light: {},
    dark: { colorScheme: "dark" },
    small: { viewport: { width: 360, height: 740 }, colorScheme: "dark" },
    wide: { viewport: { width: 2560, height: 1300 } },
  };
  for (const [kind, options] of Object.entries(kinds)) {
    const page = await open(options);
    await logIn(page, place, "anna", "correct horse battery");
    for (const [name, address] of paths("support", job.id)) {
      await page.goto(place.url + address);
      await look(page, name, kind);
    }
    await page.close();
  }

  // A viewer sees the same and no action.
  const viewer = await open({});
  await logIn(viewer, place, "vera", "correct horse battery");
  for (const [name, address] of paths("support", job.id)) {
    await viewer.goto(place.url + address);
    const actions = await viewer.locator("main form[method=post] button:enabled").count();
    assert.equal(actions, address === "/me" ? 1 : 0, `${address}: ${await viewer.locator("main").innerText()}`);
    await axe(viewer);
    assert.ok(name);
  }

  // Without a script every page reads well, and forms work.
  const plain = await open({ javaScriptEnabled: false });
  await plain.goto(`${place.url}/login`);
  await plain.getByLabel("Name").fill("anna");
  await plain.getByLabel("Password").fill("correct horse battery");
  await plain.getByRole("button", { name: "Log in" }).click();
  for (const [, address] of paths("support", job.id)) {
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
