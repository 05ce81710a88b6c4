//! Text to columns in one pass.
//!
//! Each line is read once from the front. A field finds its place by the order fields came in
//! last time, so that a run of like records costs no look-ups; text goes from the line straight
//! into its column. A record that cannot be taken leaves no trace in any column.
//!
//! Where arrays become tables ([`Arrays::Tables`]), a stream has one [sheet](super::sheet) for its
//! records and one for each array; an item is a row that knows the record it came from.

use arrow::array::{ArrayRef, Int64Array, StringArray, UInt32Array};
use arrow::compute::take;
use bobbin_core::catalog::Stream;
use bobbin_core::json::{Peek, Reader};
use bobbin_core::receipt::Fill;
use bobbin_core::schema::Object;
use std::sync::Arc;

use super::batch::{self, Batch, Lead, RejectedRow};
use super::capabilities::Capabilities;
use super::envelope::{Refusal, no_system_fields, rejected, sequence};
use super::layout::{Arrays, Deletes, Layout, Loading, Naming};
use super::sheet::{Known, Sheet};
use super::tree::{Column, Sub, child, plant, plant_items, seek};
use super::types::ColumnType;
use super::{name, time};

pub use super::sheet::OVERFLOW;

/// Fields of a table remembered between batches; beyond it those without a column are forgotten.
const MAX_FIELDS: usize = 20_000;

/// Rows in a batch: DuckDB's vector size.
pub const BATCH_ROWS: usize = 2_048;

/// Bytes of text after which a batch ends with fewer rows.
pub const BATCH_BYTES: usize = 8 << 20;

/// What a row of an array's item counts beside its text, in bytes.
const ITEM_BYTES: usize = 48;

/// Bytes kept of a rejected record.
pub const REJECTED_BYTES: usize = 64 << 10;

/// The column that tells the rows of a stream without key apart (`stitch-behaviour.md` 7.2).
pub const MADE_KEY: &str = "__sdc_primary_key";

/// Turns the lines of one stream's segments into [`Batch`]es.
#[derive(Debug)]
pub struct Converter {
    fields: Object,
    key_fields: Vec<String>,
    version_fields: Vec<String>,
    replication_key: Option<String>,
    pub(super) capabilities: Capabilities,
    pub(super) layout: Layout,
    /// The table of the records, then those of arrays, each after the one it hangs from.
    pub(super) sheets: Vec<Sheet>,
    /// The nodes of the key and of the version fields.
    pub(super) keys: Vec<usize>,
    versions: Vec<usize>,
    /// The node of the replication key.
    replication: Option<usize>,
    /// The node of `_sdc_deleted_at`, where somebody asks for it.
    deleted_at: Option<usize>,
    /// The positions on the way to the item at hand.
    ids: Vec<i64>,
    bytes: usize,
    extracted_at: Vec<i64>,
    sequence: Vec<i64>,
    records: Vec<Box<str>>,
    rejected: Vec<RejectedRow>,
    partial: Vec<RejectedRow>,
    /// The last `_sdc_extracted_at` read; a page's records share it.
    last_extracted: (String, i64),
    /// For the keys of records without one.
    stream_hash: u64,
}

impl Converter {
    /// A converter for `stream` into a table with the columns it was given so far (and whether
    /// they are there) and `others`: columns of the table that are not ours to write.
    pub fn new(stream: &Stream, stored: Vec<(Column, bool)>, others: &[String]) -> Self {
        let own = Known { sub: Sub::default(), columns: stored, others: others.to_vec() };
        Self::arranged(stream, vec![own], Capabilities::default(), Layout::default())
    }

    /// The same for a destination with limits of its own.
    pub fn within(stream: &Stream, capabilities: Capabilities) -> Self {
        Self::arranged(stream, Vec::new(), capabilities, Layout::default())
    }

    /// A converter for a destination with limits of its own and tables as a person chose them.
    /// `known` are the stream's tables, in any order.
    pub fn arranged(
        stream: &Stream,
        mut known: Vec<Known>,
        capabilities: Capabilities,
        layout: Layout,
    ) -> Self {
        known.sort_by(|a, b| (a.sub.depth(), &a.sub).cmp(&(b.sub.depth(), &b.sub)));
        if known.first().is_none_or(|known| !known.sub.is_own()) {
            known.insert(0, Known::default());
        }
        let capabilities = Capabilities {
            columns: layout.max_columns.unwrap_or(capabilities.columns),
            ..capabilities
        };
        let sheet = |known| Sheet::new(known, &capabilities, layout);
        let mut converter = Self {
            fields: stream.fields.clone(),
            key_fields: stream.key.clone(),
            version_fields: stream.version_fields.clone(),
            replication_key: stream.replication_key.clone(),
            capabilities,
            layout,
            sheets: known.into_iter().map(sheet).collect(),
            keys: Vec::new(),
            versions: Vec::new(),
            replication: None,
            deleted_at: None,
            ids: Vec::new(),
            bytes: 0,
            extracted_at: Vec::new(),
            sequence: Vec::new(),
            records: Vec::new(),
            rejected: Vec::new(),
            partial: Vec::new(),
            last_extracted: (String::new(), 0),
            stream_hash: name::hash_of(stream.name.as_str()),
        };
        converter.plant();
        converter
    }

    /// Whether the stream's records are told apart, and their versions compared, as when it was made.
    pub fn fits(&self, stream: &Stream) -> bool {
        self.key_fields == stream.key
            && self.version_fields == stream.version_fields
            && self.replication_key == stream.replication_key
    }

    /// Takes in fields the stream was declared to have since. Call it between batches; what has a
    /// column keeps its type.
    pub fn learn(&mut self, fields: &Object) {
        if self.fields != *fields {
            self.fields = fields.clone();
            self.plant();
        }
    }

    /// Builds the trees of fields from the schema and the columns there are.
    fn plant(&mut self) {
        let split = self.layout.arrays == Arrays::Tables;
        let mut nodes = plant(&self.fields, split);
        let mut find = |fields: &[String]| -> Vec<usize> {
            fields.iter().map(|field| child(&mut nodes, 0, field, true)).collect()
        };
        self.keys = find(&self.key_fields);
        self.versions = find(&self.version_fields);
        self.replication = find(self.replication_key.as_slice()).pop();
        self.deleted_at = (self.layout.deletes != Deletes::AsTold).then(|| {
            let node = child(&mut nodes, 0, name::DELETED, true);
            if nodes[node].fields.is_none() && nodes[node].primary.is_none() {
                nodes[node].primary = Some(ColumnType::DateTime);
            }
            node
        });
        self.sheets[0].planted(nodes);
        for at in 1..self.sheets.len() {
            let Some((path, above)) = self.sheets[at].sub.0.split_last() else { continue };
            let above = Sub(above.to_vec());
            let path = path.clone();
            let owner = self.sheets[..at].iter().position(|sheet| sheet.sub == above);
            let mut items = None;
            if let Some(owner) = owner
                && let Some(node) = seek(&mut self.sheets[owner].nodes, &path)
            {
                let node = &mut self.sheets[owner].nodes[node];
                node.child = Some(at);
                items.clone_from(&node.items);
            }
            let sheet = &mut self.sheets[at];
            sheet.items = items;
            sheet.planted(plant_items(sheet.items.as_ref()));
        }
    }

    /// Takes one line without its line break; whatever it holds, it becomes a row or is rejected.
    pub fn line(&mut self, line: &[u8]) {
        self.bytes += line.len();
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(error) => {
                let reason = format!("bytes that are not UTF-8 at byte {}", error.valid_up_to());
                self.reject(reason, &String::from_utf8_lossy(line));
                return;
            }
        };
        for sheet in &mut self.sheets {
            sheet.begin_record();
        }
        match self.record(text) {
            Ok(true) => {
                self.sheets[0].rows += 1;
                if self.capabilities.keep_records {
                    self.records.push(text.into());
                }
            }
            Ok(false) => {}
            Err(refusal) => {
                for sheet in &mut self.sheets {
                    sheet.take_back();
                }
                self.ids.clear();
                let reason = match refusal {
                    Refusal::Json(error) => format!("not readable as JSON: {error}"),
                    Refusal::Reason(reason) => reason,
                };
                self.reject(reason, text);
            }
        }
    }

    /// Sets a record aside.
    pub fn reject(&mut self, reason: impl Into<String>, record: &str) {
        let row = RejectedRow { reason: reason.into(), record: kept(record) };
        self.bytes += row.record.len();
        self.rejected.push(row);
    }

    /// Whether the batch is large enough to be [finished](Self::finish).
    #[inline]
    pub fn is_full(&self) -> bool {
        self.sheets[0].rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// Ends the batch, or gives nothing when there is nothing in it.
    pub fn finish(&mut self) -> Option<Batch> {
        if self.sheets[0].rows == 0 && self.rejected.is_empty() {
            return None;
        }
        let mut batch = Batch {
            extracted_at: std::mem::take(&mut self.extracted_at),
            sequence: std::mem::take(&mut self.sequence),
            records: std::mem::take(&mut self.records),
            rejected: std::mem::take(&mut self.rejected),
            partial: std::mem::take(&mut self.partial),
            ..Batch::default()
        };
        self.sheets[0].finish(&mut batch);
        let own = &self.sheets[0];
        batch.keys = self.keys.iter().filter_map(|&node| own.own_column(node)).collect();
        batch.versions = self
            .versions
            .iter()
            .map(|&node| own.nodes[node].columns.iter().map(|&(_, position)| position).collect())
            .collect();
        batch.deleted_at = self.deleted_columns();
        if self.keys.is_empty() {
            let keys: StringArray = batch
                .sequence
                .iter()
                .map(|&sequence| Some(made_key(self.stream_hash, sequence)))
                .collect();
            batch.lead.push(Lead {
                name: MADE_KEY.to_owned(),
                ty: ColumnType::Text,
                array: Arc::new(keys),
            });
        }
        for sheet in &mut self.sheets[1..] {
            if sheet.rows > 0 {
                let mut child = Batch { sub: sheet.sub.clone(), ..Batch::default() };
                child.parents = std::mem::take(&mut sheet.parents);
                sheet.above.clear();
                child.ids = sheet.ids.iter_mut().map(std::mem::take).collect();
                sheet.finish(&mut child);
                batch.children.push(child);
            }
        }
        self.bytes = 0;
        if self.sheets.iter().any(|sheet| sheet.nodes.len() > MAX_FIELDS) {
            self.plant();
        }
        if self.layout.loading == Loading::Upsert {
            batch.keep_newest();
        }
        batch.span = self.replication.and_then(|node| {
            let columns = &self.sheets[0].nodes[node].columns;
            columns.iter().filter_map(|&(_, at)| batch.column(at)).find_map(batch::span)
        });
        batch.fill = self.fill(&batch);
        self.lead_children(&mut batch);
        Some(batch)
    }

    /// In how many of the batch's records each field has a value.
    fn fill(&self, batch: &Batch) -> Fill {
        let mut fill = Fill { records: batch.rows as u64, ..Fill::default() };
        let mut count = |path: &[String], filled: usize| {
            // A field with values of several types has several columns.
            if filled > 0 && !path.is_empty() {
                *fill.fields.entry(path.join(".")).or_default() += filled as u64;
            }
        };
        for (position, array) in &batch.columns {
            let path = &self.sheets[0].columns[*position].column.path;
            count(path, array.len() - array.null_count());
        }
        for child in &batch.children {
            if let [path] = &child.sub.0[..] {
                // The items of a record follow each other.
                count(path, child.parents.chunk_by(|a, b| a == b).count());
            }
        }
        fill
    }

    fn deleted_columns(&self) -> Vec<usize> {
        let node = self.deleted_at.map(|node| &self.sheets[0].nodes[node]);
        node.map_or_else(Vec::new, |node| node.columns.iter().map(|&(_, at)| at).collect())
    }

    /// Gives `_sdc_deleted_at` a column of instants, if it has none. Call it between batches. Gives a
    /// batch without rows that has what is to change in the table and all columns which say that a
    /// record is deleted; nothing where the field can have no column.
    pub fn provide_deleted_at(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        let node = self.deleted_at?;
        self.sheets[0].provide(node, ColumnType::DateTime, &mut batch)?;
        batch.deleted_at = self.deleted_columns();
        Some(batch)
    }

    /// Gives the rows of arrays the key of their record, its times and its sequence.
    fn lead_children(&mut self, batch: &mut Batch) {
        let mut children = std::mem::take(&mut batch.children);
        let mut keys: Vec<(String, ColumnType, ArrayRef)> = Vec::new();
        for &position in &batch.keys {
            let column = &self.sheets[0].columns[position].column;
            if let Some(array) = batch.column(position) {
                keys.push((column.name.clone(), column.ty, array.clone()));
            }
        }
        keys.extend(batch.lead.iter().map(|lead| (lead.name.clone(), lead.ty, lead.array.clone())));
        for child in &mut children {
            let parents = UInt32Array::from(child.parents.clone());
            let limit = self.capabilities.name_bytes;
            for (key, ty, array) in &keys {
                // Taking rows that are there of an array of our own types cannot fail.
                let Ok(array) = take(array, &parents, None) else { continue };
                let name = name::source_key(key, limit);
                child.lead.push(Lead { name, ty: *ty, array });
            }
            for (level, ids) in std::mem::take(&mut child.ids).into_iter().enumerate() {
                child.lead.push(Lead {
                    name: format!("_sdc_level_{level}_id"),
                    ty: ColumnType::BigInt,
                    array: Arc::new(Int64Array::from(ids)),
                });
            }
            let rows = child.parents.iter().map(|&row| row as usize);
            (child.extracted_at, child.sequence) =
                rows.map(|row| (batch.extracted_at[row], batch.sequence[row])).unzip();
        }
        for child in children.iter_mut().filter(|child| child.rows == 0) {
            // All its rows went with older versions of their records.
            if let Some(sheet) = self.sheets.iter_mut().find(|sheet| sheet.sub == child.sub) {
                sheet.unmake(child);
            }
        }
        children.retain(|child| child.rows > 0);
        batch.children = children;
    }

    /// Reads one line; true when it became a row.
    fn record(&mut self, text: &str) -> Result<bool, Refusal> {
        let mut r = Reader::new(text);
        r.object()?;
        let extracted_at = self.extracted_at(&mut r)?;
        let sequence = sequence(&mut r)?;
        if text[r.offset()..].starts_with(",\"_sdc_rejected\":")
            && let Some((reason, record)) = rejected(r.clone())?
        {
            self.reject(reason, &record);
            return Ok(false);
        }
        self.members(&mut r, 0, 0)?;
        r.end()?;
        self.check_key()?;
        if let Some(fault) = self.sheets.iter_mut().find_map(|sheet| sheet.fault.take()) {
            return Err(Refusal::Reason(fault));
        }
        if !self.sheets[0].extra.is_empty() {
            let reasons = self.sheets[0].overflow();
            if !reasons.is_empty() {
                self.note(reasons.join("; "), text);
            }
        }
        self.extracted_at.push(extracted_at);
        self.sequence.push(sequence);
        Ok(true)
    }

    /// Keeps a record beside its row, because the row lacks a value.
    fn note(&mut self, reason: String, record: &str) {
        let row = RejectedRow { reason, record: kept(record) };
        self.bytes += row.record.len();
        self.partial.push(row);
    }

    fn extracted_at(&mut self, r: &mut Reader<'_>) -> Result<i64, Refusal> {
        let text = match r.key()? {
            Some(key) if key.raw == "_sdc_extracted_at" => r.string()?,
            _ => return Err(no_system_fields()),
        };
        if text.raw != self.last_extracted.0 {
            let micros = time::micros(text.raw)
                .or_else(|| text.raw.parse::<jiff::Timestamp>().ok().map(|at| at.as_microsecond()))
                .ok_or_else(no_system_fields)?;
            self.last_extracted = (text.raw.to_owned(), micros);
        }
        Ok(self.last_extracted.1)
    }

    fn check_key(&self) -> Result<(), Refusal> {
        let own = &self.sheets[0];
        let mut bytes = 0;
        for &key in &self.keys {
            let node = &own.nodes[key];
            match own.own_column(key).filter(|&at| own.has_value(at)) {
                Some(at) => {
                    bytes += own.columns[at].builder.last_bytes();
                    continue;
                }
                None if node.child.is_some_and(|child| self.sheets[child].has_row_of(own.rows)) => {
                    let name = node.path.join(".");
                    return Err(Refusal::Reason(format!("the key `{name}` is an object or array")));
                }
                None => {}
            }
            let name = node.path.join(".");
            let other = node.columns.iter().find(|&&(_, at)| own.has_value(at));
            return Err(Refusal::Reason(match (other, node.primary) {
                (Some((found, _)), Some(expected)) => {
                    format!("the key `{name}` is {found} where the table has {expected}")
                }
                (Some((found, _)), None) => format!("the key `{name}` is {found}"),
                (None, _) => format!("the key `{name}` is missing or null"),
            }));
        }
        // A key that is an object or a list names nothing.
        if let Some(&key) = self.keys.iter().find(|&&key| {
            matches!(
                own.nodes[key].primary,
                None | Some(ColumnType::Json | ColumnType::List(_) | ColumnType::Decimal)
            )
        }) {
            let name = own.nodes[key].path.join(".");
            return Err(Refusal::Reason(format!("the key `{name}` is an object or array")));
        }
        if !self.capabilities.nul_in_keys {
            // Mended it would be another record's key.
            let own_columns = self.keys.iter().filter_map(|&key| own.own_column(key));
            let text = own_columns.map(|at| own.columns[at].builder.last_text());
            if text.into_iter().any(|text| text.contains(&0)) {
                return Err(Refusal::Reason(
                    "the key holds the character NUL, which the table cannot".to_owned(),
                ));
            }
        }
        if let Some(most) = self.capabilities.key_bytes.filter(|&most| bytes > most) {
            return Err(Refusal::Reason(format!(
                "the key has {bytes} bytes, more than the {most} that an index can hold"
            )));
        }
        Ok(())
    }

    /// Reads the members of an object that was entered, up to its end.
    fn members(&mut self, r: &mut Reader<'_>, s: usize, owner: usize) -> Result<(), Refusal> {
        let mut expected = 0;
        let mut before = None;
        loop {
            let Some(fields) = &self.sheets[s].nodes[owner].fields else { return Ok(()) };
            let at = match fields.children.get(expected) {
                Some(child) if r.key_if(&child.quoted) => expected,
                _ => {
                    let Some(key) = r.key()? else { return Ok(()) };
                    let Some(at) = self.sheets[s].look_up(owner, key, before) else {
                        r.skip()?;
                        continue;
                    };
                    at
                }
            };
            let Some(fields) = &self.sheets[s].nodes[owner].fields else { return Ok(()) };
            let child = &fields.children[at];
            (expected, before) = (child.next, Some(at));
            let node = child.node;
            self.value(r, s, node)?;
        }
    }

    /// Reads the value of a field into the column for it.
    #[inline]
    fn value(&mut self, r: &mut Reader<'_>, s: usize, node: usize) -> Result<(), Refusal> {
        let sheet = &mut self.sheets[s];
        if sheet.nodes[node].met == sheet.rows + 1 {
            if sheet.nodes[node].shared && self.layout.naming == Naming::Stitch {
                let path = name::cleaned(&sheet.nodes[node].path.join("__"));
                return Err(Refusal::Reason(format!("Field collision on {path}")));
            }
            // The key stands twice in this record: the last one counts.
            self.clear(s, node);
        }
        let peek = r.peek()?;
        if peek == Peek::Null {
            return Ok(r.null()?);
        }
        let sheet = &mut self.sheets[s];
        sheet.nodes[node].met = sheet.rows + 1;
        match peek {
            Peek::String => {
                let text = r.string()?;
                sheet.text(node, text);
            }
            Peek::Number => {
                let literal = r.number()?;
                sheet.number(node, literal)?;
            }
            Peek::Bool => {
                let value = r.bool()?;
                sheet.boolean(node, value);
            }
            Peek::Object if sheet.nodes[node].fields.is_some() => {
                r.object()?;
                self.members(r, s, node)?;
            }
            Peek::Array if self.layout.arrays == Arrays::Tables => self.items(r, s, node)?,
            Peek::Array => sheet.array(r, node)?,
            Peek::Object => {
                let span = r.skip()?;
                sheet.json(node, span);
            }
            Peek::Null => {}
        }
        Ok(())
    }

    /// Reads an array's items as rows of a table of their own.
    fn items(&mut self, r: &mut Reader<'_>, s: usize, node: usize) -> Result<(), Refusal> {
        r.array()?;
        let mut position = 0;
        while r.item()? {
            let at = match self.sheets[s].nodes[node].child {
                Some(at) => at,
                None => self.add_sheet(s, node),
            };
            let (parent, above) = (self.sheets[0].rows, self.sheets[s].rows);
            self.ids.push(position);
            self.sheets[at].begin(parent, above, &self.ids);
            match r.peek()? {
                Peek::Null => r.null()?,
                Peek::Object => {
                    r.object()?;
                    self.members(r, at, 0)?;
                }
                _ => self.value(r, at, 0)?,
            }
            let sheet = &mut self.sheets[at];
            if !sheet.extra.is_empty() {
                let reasons = sheet.overflow();
                if let Some(reason) = reasons.into_iter().next() {
                    // An item has no place of its own among rejected records.
                    return Err(Refusal::Reason(reason));
                }
            }
            sheet.rows += 1;
            self.bytes += ITEM_BYTES;
            self.ids.pop();
            position += 1;
        }
        Ok(())
    }

    /// Makes a sheet for the arrays of a field.
    pub(super) fn add_sheet(&mut self, s: usize, node: usize) -> usize {
        let at = self.sheets.len();
        let owner = &mut self.sheets[s];
        let sub = owner.sub.of(&owner.nodes[node].path);
        owner.nodes[node].child = Some(at);
        let items = owner.nodes[node].items.clone();
        let known = Known { sub, ..Known::default() };
        let mut sheet = Sheet::new(known, &self.capabilities, self.layout);
        sheet.planted(plant_items(items.as_ref()));
        sheet.items = items;
        self.sheets.push(sheet);
        at
    }

    /// Takes back the value a field was given earlier in the current row, with its members and
    /// items.
    fn clear(&mut self, s: usize, node: usize) {
        self.sheets[s].clear(node);
        if let Some(child) = self.sheets[s].nodes[node].child {
            self.drop_rows_of(child, self.sheets[s].rows);
        }
        for member in self.sheets[s].met_members(node) {
            self.clear(s, member);
        }
    }

    /// Drops the rows that hang from row `above` (and later ones) of the sheet before.
    fn drop_rows_of(&mut self, s: usize, above: usize) {
        let rows = self.sheets[s].above.partition_point(|&row| (row as usize) < above);
        if rows == self.sheets[s].rows {
            return;
        }
        self.sheets[s].truncate(rows);
        let children: Vec<usize> =
            self.sheets[s].nodes.iter().filter_map(|node| node.child).collect();
        for child in children {
            self.drop_rows_of(child, rows);
        }
    }
}

/// The front of a record, as far as rejected records are kept.
pub fn kept(record: &str) -> String {
    if record.len() <= REJECTED_BYTES {
        return record.to_owned();
    }
    let mut end = REJECTED_BYTES;
    while !record.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}… ({} bytes in all)", &record[..end], record.len())
}

/// A key for a record without one: a UUID of version 8 made of the stream and the record's
/// sequence, so that the same record gets the same key whenever it is loaded.
fn made_key(stream: u64, sequence: i64) -> String {
    let sequence = sequence as u64;
    // Version 8, then variant 2: 122 bits are left, of which the sequence takes 64.
    let front = (stream >> 32) as u32;
    let next = (stream >> 16) as u16;
    let versioned = 0x8000 | (sequence >> 52) as u16;
    let marked = 0x8000 | ((sequence >> 38) & 0x3fff) as u16;
    let tail = ((sequence & 0x3f_ffff_ffff) << 10) | (stream & 0x3ff);
    format!("{front:08x}-{next:04x}-{versioned:04x}-{marked:04x}-{tail:012x}")
}
