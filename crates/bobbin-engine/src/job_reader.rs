//! A job's log followed from its beginning: what it comes to so far, and where its lines are. Nothing is
//! read twice, and no log is held in memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bobbin_core::id::{ConnectionId, JobId};
use bobbin_core::{Error, Result};

use crate::job_log::{self, Line};
use crate::job_view::JobView;

/// Lines between two places that are known.
const STEP: u64 = 256;

/// Bytes after which the time is looked at.
const SLICE: u64 = 1 << 20;

/// The longest line that is shown; what comes after is left out.
const MOST_LINE_BYTES: usize = 64 << 10;

/// Levels of lines, least first.
pub const LEVELS: [&str; 5] = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];

/// A log that is read as it grows.
#[derive(Debug)]
pub struct JobReader {
    lines: BufReader<File>,
    /// Bytes that were read: whole lines.
    offset: u64,
    partial: Vec<u8>,
    /// Whoever looks at it while more is read keeps theirs.
    view: Arc<JobView>,
    steps: Vec<Step>,
}

/// Lines that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Step {
    offset: u64,
    /// A bit for each level of [`LEVELS`] that is among them.
    levels: u8,
}

/// Which lines are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LinesQuery {
    /// The first or, backwards, the last that may be given, from 1.
    pub line: u64,
    /// Whether those before it are wanted.
    pub backwards: bool,
    /// Most of them.
    pub most: usize,
    /// The place in [`LEVELS`] of the least that is wanted.
    pub level: usize,
    /// Only those that hold this, in whatever case.
    pub search: String,
}

/// Lines of a log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lines {
    /// Each with its number, in their order; none for what is no event.
    pub lines: Vec<(u64, Option<Line>)>,
    /// Where looking on in the same direction goes on; none at the end.
    pub next: Option<u64>,
    /// Whether the time was over before the end was reached or enough was found.
    pub late: bool,
}

impl JobReader {
    /// Opens a job's log, and reads nothing yet.
    ///
    /// # Errors
    /// Of kind `NotFound` when there is none.
    pub fn open(home: &Path, connection: &ConnectionId, job: &JobId) -> Result<Self> {
        let file = job_log::open(home, connection, job)?;
        Ok(Self {
            lines: BufReader::with_capacity(256 << 10, file),
            offset: 0,
            partial: Vec::new(),
            view: Arc::default(),
            steps: Vec::new(),
        })
    }

    /// What the log comes to so far.
    pub fn view(&self) -> &Arc<JobView> {
        &self.view
    }

    /// The part of the log that was read, from 0 to 1.
    pub fn progress(&self) -> f64 {
        let size = self.lines.get_ref().metadata().map_or(0, |file| file.len());
        if size == 0 { 1.0 } else { self.offset as f64 / size as f64 }
    }

    /// Reads on until the end of what is written by now, or until it is late. Whether it came to the end.
    ///
    /// # Errors
    /// Of kind `Io` when it cannot be read.
    pub fn advance(&mut self, late: Instant) -> Result<bool> {
        let mut slice = 0;
        loop {
            // A line that is still being written is read on when there is more of it.
            let read = self.lines.read_until(b'\n', &mut self.partial).map_err(failed)?;
            if !self.partial.ends_with(b"\n") {
                return Ok(true);
            }
            let bytes = self.partial.len() as u64;
            let text = String::from_utf8_lossy(&self.partial);
            if self.view.lines.is_multiple_of(STEP) {
                self.steps.push(Step { offset: self.offset, levels: 0 });
            }
            if let Some(step) = self.steps.last_mut() {
                step.levels |= 1 << level_of(&text);
            }
            Arc::make_mut(&mut self.view).take(text.trim_end());
            self.offset += bytes;
            self.partial.clear();
            slice += read as u64;
            if slice >= SLICE {
                slice = 0;
                if Instant::now() >= late {
                    return Ok(false);
                }
            }
        }
    }

    /// Lines of what was read so far. It ends when it is late, with what was found.
    ///
    /// # Errors
    /// Of kind `Io` when it cannot be read.
    pub fn lines(&self, query: &LinesQuery, late: Instant) -> Result<Lines> {
        let total = self.view.lines;
        if total == 0 || query.most == 0 || (!query.backwards && query.line > total) {
            return Ok(Lines::default());
        }
        let wanted = query.search.to_lowercase();
        let line = query.line.clamp(1, total);
        let mask = !0_u8 << query.level.min(LEVELS.len() - 1);
        let mut found = Lines::default();
        let mut place = (line - 1) / STEP;
        let mut file = self.lines.get_ref().try_clone().map_err(failed)?;
        loop {
            let step = self.steps[place as usize];
            if step.levels & mask != 0 {
                let mut texts = self.step(&mut file, place)?;
                if query.backwards {
                    texts.reverse();
                }
                for (number, text) in texts {
                    let beyond = if query.backwards { number > line } else { number < line };
                    if beyond || mask & (1 << level_of(&text)) == 0 {
                        continue;
                    }
                    let told = Line::of(&text);
                    let holds = wanted.is_empty()
                        || told
                            .as_ref()
                            .is_some_and(|line| line.to_string().to_lowercase().contains(&wanted));
                    if !holds {
                        continue;
                    }
                    if found.lines.len() == query.most {
                        found.next = Some(number);
                        return Ok(found.in_order(query.backwards));
                    }
                    found.lines.push((number, told));
                }
            }
            let next = if query.backwards { place.checked_sub(1) } else { Some(place + 1) };
            let Some(next) = next.filter(|next| (*next as usize) < self.steps.len()) else {
                return Ok(found.in_order(query.backwards));
            };
            place = next;
            if Instant::now() >= late {
                found.late = true;
                found.next =
                    Some(if query.backwards { (place + 1) * STEP } else { place * STEP + 1 });
                return Ok(found.in_order(query.backwards));
            }
        }
    }

    /// The lines of one step with their numbers.
    fn step(&self, file: &mut File, place: u64) -> Result<Vec<(u64, String)>> {
        let start = self.steps[place as usize].offset;
        let end = self.steps.get(place as usize + 1).map_or(self.offset, |step| step.offset);
        let mut text = Vec::new();
        // The place of the reader is its own.
        let before = file.stream_position().map_err(failed)?;
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        let read = (&*file).take(end - start).read_to_end(&mut text);
        file.seek(SeekFrom::Start(before)).map_err(failed)?;
        read.map_err(failed)?;
        let lines = text.split_inclusive(|byte| *byte == b'\n').zip(place * STEP + 1..);
        let line = |line: &[u8]| String::from_utf8_lossy(line).trim_end().to_owned();
        Ok(lines.map(|(text, number)| (number, line(text))).collect())
    }
}

impl Lines {
    fn in_order(mut self, backwards: bool) -> Self {
        if backwards {
            self.lines.reverse();
        }
        for (_, line) in &mut self.lines {
            let Some(line) = line.as_mut().filter(|line| line.message.len() > MOST_LINE_BYTES)
            else {
                continue;
            };
            line.message.truncate(line.message.floor_char_boundary(MOST_LINE_BYTES));
            line.message.push_str(" … (cut; the file has all of it)");
        }
        self
    }
}

/// The place in [`LEVELS`] of a line's level, without reading all of the line where that can be.
fn level_of(text: &str) -> u32 {
    const DEBUG: [&str; 7] =
        ["call", "sealed", "committed", "extracted", "rate_wait", "rate_limit", "stream_total"];
    let event = text.strip_prefix("{\"event\":\"").and_then(|rest| rest.split('"').next());
    if event.is_some_and(|event| DEBUG.contains(&event)) {
        return 0;
    }
    let level = Line::of(text).map_or("DEBUG", |line| line.level);
    LEVELS.iter().position(|known| *known == level).unwrap_or(0) as u32
}

fn failed(error: std::io::Error) -> Error {
    Error::io("cannot read the job's log", error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;

    fn log(lines: &[String]) -> (tempfile::TempDir, File) {
        let home = tempfile::tempdir().unwrap();
        let path = job_log::path(home.path(), &"c".into(), &"1".into());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = File::create(path).unwrap();
        for line in lines {
            writeln!(file, "{line}").unwrap();
        }
        (home, file)
    }

    fn notice(n: usize) -> String {
        let level = match n {
            n if n.is_multiple_of(997) => "error",
            n if n.is_multiple_of(2) => "debug",
            _ => "info",
        };
        format!(
            "{{\"event\":\"notice\",\"level\":\"{level}\",\"stream\":null,\"message\":\"number {n} <b>\",\"at\":\"2026-05-01T16:44:41Z\"}}"
        )
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    fn numbers(lines: &Lines) -> Vec<u64> {
        lines.lines.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn lines_are_found_forwards_and_backwards() {
        let all: Vec<String> = (1..=3000).map(notice).collect();
        let (home, _) = log(&all);
        let mut reader = JobReader::open(home.path(), &"c".into(), &"1".into()).unwrap();
        assert!(reader.advance(later()).unwrap());
        assert_eq!(reader.view().lines, 3000);
        let find = |line, backwards, level, search: &str| {
            let query = LinesQuery { line, backwards, most: 3, level, search: search.to_owned() };
            let found = reader.lines(&query, later()).unwrap();
            (numbers(&found), found.next)
        };
        assert_eq!(find(1, false, 0, ""), (vec![1, 2, 3], Some(4)));
        assert_eq!(find(2999, false, 0, ""), (vec![2999, 3000], None));
        assert_eq!(find(9999, true, 0, ""), (vec![2998, 2999, 3000], Some(2997)));
        assert_eq!(find(256, true, 0, ""), (vec![254, 255, 256], Some(253)));
        assert_eq!(find(2, true, 0, ""), (vec![1, 2], None));
        assert_eq!(find(1, false, 1, ""), (vec![1, 3, 5], Some(7)));
        assert_eq!(find(1, false, 3, ""), (vec![997, 1994, 2991], None));
        assert_eq!(find(1000, true, 3, ""), (vec![997], None));
        assert_eq!(find(1, false, 0, "NUMBER 250"), (vec![250, 2500, 2501], Some(2502)));
        assert_eq!(find(1, false, 4, ""), (vec![], None));
        // Each line has its own text.
        let query = LinesQuery { line: 700, most: 1, ..LinesQuery::default() };
        let found = reader.lines(&query, later()).unwrap();
        assert_eq!(found.lines[0].1.as_ref().unwrap().message, "number 700 <b>");
    }

    #[test]
    fn a_log_is_followed_as_it_grows_and_nothing_is_read_twice() {
        let (home, mut file) = log(&[notice(1)]);
        let mut reader = JobReader::open(home.path(), &"c".into(), &"1".into()).unwrap();
        reader.advance(later()).unwrap();
        let second = notice(2);
        let (begin, end) = second.split_at(30);
        file.write_all(begin.as_bytes()).unwrap();
        reader.advance(later()).unwrap();
        assert_eq!(reader.view().lines, 1, "half a line is none");
        // Lines that are asked for in between do not move the place.
        let query = LinesQuery { line: 1, most: 9, ..LinesQuery::default() };
        assert_eq!(numbers(&reader.lines(&query, later()).unwrap()), [1]);
        writeln!(file, "{end}").unwrap();
        writeln!(file, "{}", notice(997)).unwrap();
        reader.advance(later()).unwrap();
        assert_eq!(numbers(&reader.lines(&query, later()).unwrap()), [1, 2, 3]);
        assert_eq!(reader.view().troubles.len(), 1);
        assert_eq!(reader.view().troubles[0].line, 3);
    }

    #[test]
    fn whoever_is_late_gets_what_was_found_and_where_to_go_on() {
        let all: Vec<String> = (1..=3000).map(notice).collect();
        let (home, _) = log(&all);
        let mut reader = JobReader::open(home.path(), &"c".into(), &"1".into()).unwrap();
        reader.advance(later()).unwrap();
        let mut query =
            LinesQuery { line: 1, most: 9, search: "number 2991".into(), ..LinesQuery::default() };
        let mut asked = 0;
        let found = loop {
            asked += 1;
            let found = reader.lines(&query, Instant::now()).unwrap();
            match (found.lines.first(), found.next) {
                (Some((number, _)), _) => break *number,
                (None, Some(next)) => query.line = next,
                (None, None) => break 0,
            }
        };
        assert_eq!((found, asked), (2991, 12));
    }

    #[test]
    fn levels_told_shortly_are_those_of_whole_lines() {
        for (event, level) in [
            (
                "\"event\":\"call\",\"stream\":null,\"endpoint\":\"x\",\"status\":200,\"seconds\":1,\"usable\":true",
                0,
            ),
            ("\"event\":\"rate_limit\",\"bucket\":\"search\",\"limit\":1,\"remaining\":0", 0),
            ("\"event\":\"stream_total\",\"stream\":\"a\",\"total\":1", 0),
            ("\"event\":\"extracted\",\"stream\":\"a\",\"records\":1,\"bytes\":1", 0),
            ("\"event\":\"set_aside\",\"stream\":\"a\",\"reason\":\"x\"", 2),
            (
                "\"event\":\"stream_ended\",\"stream\":\"a\",\"outcome\":\"failed\",\"reason\":\"x\"",
                3,
            ),
            ("\"event\":\"job_ended\",\"outcome\":\"failed\",\"error\":\"x\"", 4),
        ] {
            let text = format!("{{{event},\"at\":\"2026-05-01T16:44:41Z\"}}");
            assert_eq!(level_of(&text), level, "{text}");
            assert_eq!(Line::of(&text).unwrap().level, LEVELS[level as usize], "{text}");
        }
    }
}
