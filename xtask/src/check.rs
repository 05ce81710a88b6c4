//! Keeps the picture in ARCHITECTURE.md honest: who may depend on whom, how long a file may be.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Lines after which a source file wants a second noun.
const MOST_LINES: usize = 800;

/// Each crate and the bobbin crates it may depend on (dev-dependencies aside).
const PICTURE: &[(&str, &[&str])] = &[
    ("bobbin-core", &[]),
    ("bobbin-singer", &["bobbin-core"]),
    ("tap-kustomer", &["bobbin-core", "bobbin-singer"]),
    ("fake-kustomer", &[]),
    ("bobbin-load", &["bobbin-core"]),
    ("bobbin-duckdb", &["bobbin-core", "bobbin-load"]),
    ("bobbin-postgres", &["bobbin-core", "bobbin-load"]),
    ("bobbin-engine", &["bobbin-core"]),
    ("bobbin-server", &["bobbin-core", "bobbin-engine", "bobbin-import"]),
    ("bobbin-notify", &["bobbin-core", "bobbin-engine"]),
    ("bobbin-import", &["bobbin-core", "bobbin-engine", "bobbin-singer"]),
    (
        "bobbin",
        &[
            "bobbin-core",
            "bobbin-singer",
            "tap-kustomer",
            "fake-kustomer",
            "bobbin-load",
            "bobbin-duckdb",
            "bobbin-postgres",
            "bobbin-engine",
            "bobbin-server",
            "bobbin-notify",
            "bobbin-import",
        ],
    ),
    (
        "bobbin-proof",
        &["bobbin-core", "bobbin-load", "bobbin-postgres", "bobbin-singer", "tap-kustomer"],
    ),
    ("xtask", &[]),
];

/// Runs every check and tells all that is wrong.
pub(crate) fn run() -> Result<(), String> {
    let mut wrong = Vec::new();
    picture(&mut wrong)?;
    files(&mut wrong)?;
    proofs(&mut wrong)?;
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn picture(wrong: &mut Vec<String>) -> Result<(), String> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata gave no JSON: {error}"))?;
    let allowed: BTreeMap<_, _> = PICTURE.iter().copied().collect();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(allowed) = allowed.get(name) else {
            wrong.push(format!(
                "{name} is not in the picture of the crates (xtask/src/check.rs, ARCHITECTURE.md)"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let target = dependency["name"].as_str().unwrap_or_default();
            let ours = dependency["path"].is_string();
            let normal = dependency["kind"].is_null();
            if ours && normal && !allowed.contains(&target) {
                wrong.push(format!("{name} must not depend on {target}"));
            }
        }
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        let readme = manifest.with_file_name("README.md");
        if name != "xtask" && !readme.exists() {
            wrong.push(format!("{name} has no README.md"));
        }
    }
    Ok(())
}

fn files(wrong: &mut Vec<String>) -> Result<(), String> {
    let output = Command::new("git")
        .args(["ls-files", "*.rs", "*.sh", "scripts/*"])
        .output()
        .map_err(|error| format!("cannot run git ls-files: {error}"))?;
    for path in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        let lines = text.lines().count();
        if lines > MOST_LINES {
            wrong.push(format!("{path} has {lines} lines; look for its second noun"));
        }
    }
    Ok(())
}

/// Every test that docs/stitch.md names is there.
fn proofs(wrong: &mut Vec<String>) -> Result<(), String> {
    let page = "docs/stitch.md";
    let text = std::fs::read_to_string(page).map_err(|error| format!("{page}: {error}"))?;
    let output = Command::new("git")
        .args(["grep", "-hoE", r"fn [a-z0-9_]+", "--", "crates"])
        .output()
        .map_err(|error| format!("cannot run git grep: {error}"))?;
    let known = String::from_utf8_lossy(&output.stdout);
    let known: std::collections::BTreeSet<&str> =
        known.lines().filter_map(|line| line.strip_prefix("fn ")).collect();
    for row in text.lines().filter(|line| line.starts_with("| F-")) {
        let Some(cell) = row.trim_end_matches(" |").rsplit(" | ").next() else { continue };
        for name in cell.split(", ").filter(|name| *name != "–") {
            let name = name.trim_matches('`');
            if !known.contains(name) {
                wrong.push(format!("{page} names the test {name}, which there is not"));
            }
        }
    }
    Ok(())
}
