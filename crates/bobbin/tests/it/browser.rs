//! The pages in a real Chromium, as people have them; the walks are in `browser/`.

use std::process::Command;

/// Runs a walk. It has a service, a simulated Kustomer and a browser of its own.
#[track_caller]
fn walk(script: &str) {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../browser");
    let done = Command::new("node")
        .arg(script)
        .current_dir(directory)
        .env("BOBBIN", env!("CARGO_BIN_EXE_bobbin"))
        .output()
        .expect("node is there: scripts/setup --with-tools");
    assert!(
        done.status.success(),
        "{script}: {}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn f104_f105_a_person_walks_from_the_first_run_to_the_last() {
    walk("walk.mjs");
}

#[test]
fn f104_every_page_bright_dark_small_and_without_a_script() {
    walk("everywhere.mjs");
}

#[test]
fn f104_f105_by_keyboard_alone_from_the_first_run_to_the_first_rows() {
    walk("keyboard.mjs");
}

#[test]
fn f104_what_means_ill_stays_text_in_every_field_and_on_every_page() {
    walk("hostile.mjs");
}

#[test]
fn f104_keyboard_two_people_and_a_restart() {
    walk("manners.mjs");
}
