//! Long rehearsals: ignored tests of the `bobbin` crate, which has servers, simulators and oracles at hand.
//! They are built, run and leave a Markdown table.

use std::process::Command;

/// A rehearsal.
pub(crate) struct Rehearsal {
    /// The test's whole name.
    pub(crate) test: &'static str,
    /// What its variables in the environment begin with.
    pub(crate) prefix: &'static str,
    /// What is said when it fails.
    pub(crate) failed: &'static str,
    /// How it is asked for.
    pub(crate) help: &'static str,
}

/// A number that can be given: its argument, its variable's end and what it is unless given.
pub(crate) type Number = (&'static str, &'static str, u64);

impl Rehearsal {
    /// Runs it and shows its table; gives that and the numbers in their order.
    ///
    /// # Errors
    /// When an argument is wrong, or the rehearsal is.
    pub(crate) fn run<const N: usize>(
        &self,
        arguments: &[String],
        numbers: [Number; N],
    ) -> Result<(String, [u64; N]), String> {
        let mut given = numbers.map(|(_, _, default)| default);
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let at = numbers.iter().position(|(name, _, _)| name == argument);
            let at = at.ok_or_else(|| self.help.to_owned())?;
            let number = arguments.next().and_then(|text| text.parse().ok()).filter(|n| *n > 0);
            given[at] =
                number.ok_or_else(|| format!("{argument} wants a number\n\n{}", self.help))?;
        }
        let name = format!("{}-{}.md", self.prefix.to_lowercase(), std::process::id());
        let out = std::env::temp_dir().join(name);
        let mut command = Command::new("cargo");
        command
            .args(["test", "--quiet", "--package", "bobbin", "--test", "it", "--"])
            .args(["--ignored", "--exact", self.test])
            .env(format!("{}_OUT", self.prefix), &out);
        for ((_, end, _), number) in numbers.iter().zip(given) {
            command.env(format!("{}_{end}", self.prefix), number.to_string());
        }
        let output = command.output().map_err(|error| format!("cannot run cargo: {error}"))?;
        let table = std::fs::read_to_string(&out);
        let _ = std::fs::remove_file(&out);
        if let Ok(table) = &table {
            print!("{table}");
        }
        match table {
            Ok(table) if output.status.success() => Ok((table, given)),
            _ => Err(format!(
                "{}:\n{}\n{}",
                self.failed,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    }
}
