//! The command line of a tap (`singer.md` 2).

use clap::{ArgAction, Parser, ValueEnum};

/// Flags of a tap.
#[derive(Parser, Clone, Debug, Default)]
#[command(disable_version_flag = true)]
pub struct Flags {
    /// Config file (JSON); may be repeated, later files win. The word ENV adds settings from the
    /// environment, which win over files.
    #[arg(short, long, value_name = "FILE")]
    pub config: Vec<String>,
    /// State of the last run.
    #[arg(short, long, value_name = "FILE")]
    pub state: Option<String>,
    /// Catalog with the selection; without one everything is selected.
    #[arg(long, value_name = "FILE")]
    pub catalog: Option<String>,
    /// The same under its old name.
    #[arg(short, long, value_name = "FILE", conflicts_with = "catalog")]
    pub properties: Option<String>,
    /// Print the catalog and leave.
    #[arg(short, long)]
    pub discover: bool,
    /// Print one record of each stream, or only the schemas, and leave.
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true,
        default_missing_value = "all")]
    pub test: Option<Test>,
    /// Accepted for old runners; changes nothing.
    #[arg(long)]
    pub dev: bool,
    /// Describe the program and its settings, and leave.
    #[arg(long)]
    pub about: bool,
    /// Format of --about.
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Print the version and leave.
    #[arg(short = 'V', long, action = ArgAction::SetTrue)]
    pub version: bool,
}

/// What `--test` prints.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Test {
    /// One record of each stream.
    All,
    /// Schemas only.
    Schema,
}

/// How `--about` prints.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// JSON.
    Json,
    /// Markdown.
    Markdown,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn flags_as_runners_give_them() {
        let flags = |args: &[&str]| Flags::try_parse_from([&["tap"], args].concat());
        let both = flags(&["-c", "a", "--config", "ENV", "-s", "s", "--properties", "p"]).unwrap();
        assert_eq!(both.config, ["a", "ENV"]);
        assert_eq!((both.state.as_deref(), both.properties.as_deref()), (Some("s"), Some("p")));
        assert_eq!(flags(&["--test"]).unwrap().test, Some(Test::All));
        assert_eq!(flags(&["--test=schema", "-d"]).unwrap().test, Some(Test::Schema));
        assert_eq!(flags(&["--about", "--format", "json"]).unwrap().format, Some(Format::Json));
        assert!(flags(&["--dev", "--version"]).unwrap().version);
        assert!(flags(&["--frobnicate"]).is_err());
        assert!(flags(&["--catalog", "a", "--properties", "b"]).is_err());
    }
}
