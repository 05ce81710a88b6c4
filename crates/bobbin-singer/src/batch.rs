//! BATCH messages: records in files (`singer.md` 3), in the Meltano SDK's form and PipelineWise's.
//!
//! Files are read, never deleted: they belong to whoever wrote them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use bobbin_core::{Error, Result};
use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;
use serde_json::Value;

use crate::lines::MOST_LINE;

/// What a BATCH message says.
#[derive(Debug)]
pub struct Batch {
    /// Whose records.
    pub stream: String,
    /// The files, in order.
    pub files: Vec<PathBuf>,
    /// `gzip`, `none`, or what the first bytes of a file show when absent.
    pub compression: Option<String>,
    /// The table version the records belong to.
    pub version: Option<i64>,
    /// When the tap got them.
    pub extracted: Option<Timestamp>,
}

impl Batch {
    /// Adds what the message says of files; refuses what cannot be read.
    pub(crate) fn found(
        mut self,
        encoding: Option<&str>,
        manifest: Option<&str>,
        filepath: Option<String>,
        mut format: Option<String>,
    ) -> std::result::Result<Self, String> {
        let stream = &self.stream;
        if let Some(encoding) = encoding.and_then(|span| serde_json::from_str::<Value>(span).ok()) {
            let word = |key: &str| encoding.get(key)?.as_str().map(ToOwned::to_owned);
            format = word("format").or(format);
            self.compression = word("compression").or(self.compression);
        }
        if let Some(format) = format.filter(|format| !format.eq_ignore_ascii_case("jsonl")) {
            return Err(format!(
                "is a BATCH of `{stream}` in format `{format}`, which cannot be read; set format \
                 jsonl in the tap's batch_config, or take batch_config out"
            ));
        }
        match self.compression.as_deref() {
            None | Some("gzip" | "none" | "") => {}
            Some(other) => {
                return Err(format!(
                    "is a BATCH of `{stream}` with compression `{other}`, which cannot be read; \
                     set gzip or none in the tap's batch_config"
                ));
            }
        }
        let urls: Vec<String> = match manifest {
            Some(span) => serde_json::from_str(span)
                .map_err(|_| format!("is a BATCH of `{stream}` whose manifest is no list"))?,
            None => filepath.into_iter().collect(),
        };
        if manifest.is_none() && urls.is_empty() {
            return Err(format!("is a BATCH of `{stream}` that names no file"));
        }
        for url in urls {
            let path = local(&url).ok_or_else(|| {
                format!(
                    "is a BATCH of `{stream}` with a file that is not on this machine; set a \
                     storage root that begins with file:// in the tap's batch_config"
                )
            })?;
            self.files.push(path);
        }
        Ok(self)
    }

    /// Calls `record` for every line that is not blank, in order; the text may not be UTF-8.
    ///
    /// # Errors
    /// When a file cannot be read to its end, or `record` fails.
    pub fn read(&self, record: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        for path in &self.files {
            let failed = |error| {
                Error::io("cannot read a file of a BATCH", error)
                    .with("stream", &self.stream)
                    .with("path", path.display())
            };
            let mut file = BufReader::with_capacity(256 << 10, File::open(path).map_err(failed)?);
            let gzip = match self.compression.as_deref() {
                Some("gzip") => true,
                Some("none") => false,
                _ => file.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]),
            };
            let mut lines: Box<dyn BufRead> = if gzip {
                Box::new(BufReader::with_capacity(256 << 10, MultiGzDecoder::new(file)))
            } else {
                Box::new(file)
            };
            let mut line = Vec::new();
            loop {
                line.clear();
                let most = MOST_LINE as u64 + 1;
                let read = lines.by_ref().take(most).read_until(b'\n', &mut line);
                if read.map_err(failed)? == 0 {
                    break;
                }
                if line.len() > MOST_LINE {
                    return Err(Error::protocol("a line of a BATCH's file is too long")
                        .with("path", path.display()));
                }
                let text = line.trim_ascii();
                if !text.is_empty() {
                    record(text)?;
                }
            }
        }
        Ok(())
    }
}

/// The path of a `file://` URL, or a bare path.
fn local(url: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let Some(rest) = url.strip_prefix("file://") else {
        return (!url.contains("://")).then(|| PathBuf::from(url));
    };
    let rest = rest.strip_prefix("localhost").filter(|p| p.starts_with('/')).unwrap_or(rest);
    let mut path = Vec::new();
    let mut bytes = rest.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        let hex = || {
            let digits = bytes.as_slice().get(..2)?;
            u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        match (byte, (byte == b'%').then(hex).flatten()) {
            (_, Some(decoded)) => {
                path.push(decoded);
                bytes.nth(1);
            }
            (byte, None) => path.push(byte),
        }
    }
    Some(PathBuf::from(std::ffi::OsString::from_vec(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_files() {
        for (url, path) in [
            ("file:///a/b.json", Some("/a/b.json")),
            ("file://localhost/a", Some("/a")),
            ("file:///a%20b%2", Some("/a b%2")),
            ("/plain/path", Some("/plain/path")),
            ("s3://bucket/key", None),
        ] {
            assert_eq!(local(url), path.map(PathBuf::from), "{url}");
        }
    }
}
