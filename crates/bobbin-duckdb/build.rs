//! Lets programs and tests find the prebuilt DuckDB library without help from the environment:
//! beside themselves, in `../lib`, or where it was linked from.

use std::{env, path};

/// Also called by the program's own build.
pub(crate) fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DUCKDB_LIB_DIR");
    let bundled = env::var_os("CARGO_FEATURE_BUNDLED").is_some();
    let linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    if bundled || !linux {
        return;
    }
    for place in ["$ORIGIN", "$ORIGIN/../lib"] {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{place}");
    }
    let Some(given) = env::var_os("DUCKDB_LIB_DIR").filter(|given| !given.is_empty()) else {
        return;
    };
    let Ok(directory) = path::absolute(&given) else {
        return;
    };
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", directory.display());
    let library = directory.join("libduckdb.so");
    println!("cargo::rerun-if-changed={}", library.display());
    if !library.exists() {
        println!("cargo::warning=no {}: run scripts/setup", library.display());
    }
}
