//! Text to columns in one pass.
//!
//! Each line is read once from the front. A field finds its place by the order fields came in
//! last time, so that a run of like records costs no look-ups; text goes from the line straight
//! into its column. A record that cannot be taken leaves no trace in any column.

use bobbin_core::catalog::Stream;
use bobbin_core::json::{Peek, Reader, Text, write_string};
use bobbin_core::schema::Object;

use super::batch::{Batch, RejectedRow};
use super::capabilities::Capabilities;
use super::column::Builder;
use super::envelope::{Refusal, no_system_fields, rejected, sequence};
use super::name::Names;
use super::tree::{Column, Node, child, plant, seek};
use super::types::{ColumnType, Scalar};
use super::{number, time};

/// Fields remembered between batches; beyond it those without a column are forgotten.
const MAX_FIELDS: usize = 20_000;

/// Rows in a batch: DuckDB's vector size.
pub const BATCH_ROWS: usize = 2_048;

/// Bytes of text after which a batch ends with fewer rows.
pub const BATCH_BYTES: usize = 8 << 20;

/// Bytes kept of a rejected record.
pub const REJECTED_BYTES: usize = 64 << 10;

/// The column for fields beyond the destination's limit of columns: an object of dotted path to value; a `.` or `\\`
/// in a key is led by a `\\`.
pub const OVERFLOW: &str = "_sdc_extra";

/// Turns the lines of one stream's segments into [`Batch`]es.
#[derive(Debug)]
pub struct Converter {
    fields: Object,
    key_fields: Vec<String>,
    version_fields: Vec<String>,
    nodes: Vec<Node>,
    columns: Vec<Building>,
    names: Names,
    most_columns: usize,
    keep_records: bool,
    /// The nodes of the key and of the version fields.
    keys: Vec<usize>,
    versions: Vec<usize>,
    rows: usize,
    bytes: usize,
    extracted_at: Vec<i64>,
    sequence: Vec<i64>,
    records: Vec<Box<str>>,
    rejected: Vec<RejectedRow>,
    /// The last `_sdc_extracted_at` read; a page's records share it.
    last_extracted: (String, i64),
    overflow: Option<usize>,
    /// What the current row has brought, should it be rejected: nodes of new columns, which are the
    /// last ones, and nodes whose type it decided.
    made: Vec<Option<usize>>,
    decided: Vec<usize>,
    /// Fields of the current row that have no column: node and value.
    extra: Vec<(usize, String)>,
    scratch: String,
}

#[derive(Debug)]
struct Building {
    column: Column,
    exists: bool,
    builder: Builder,
}

impl Converter {
    /// A converter for `stream` into a table with the columns it was given so far (and whether
    /// they are there) and `others`: columns of the table that are not ours to write.
    pub fn new(stream: &Stream, stored: Vec<(Column, bool)>, others: &[String]) -> Self {
        let capabilities = Capabilities::default();
        let mut names = Names::new(capabilities.name_bytes);
        for name in others {
            names.reserve(name);
        }
        let mut columns = Vec::with_capacity(stored.len());
        for (column, exists) in stored {
            names.reserve(&column.name);
            let builder = Builder::new(column.ty);
            columns.push(Building { column, exists, builder });
        }
        let overflow = columns.iter().position(|building| building.column.path.is_empty());
        let mut converter = Self {
            fields: stream.fields.clone(),
            key_fields: stream.key.clone(),
            version_fields: stream.version_fields.clone(),
            nodes: Vec::new(),
            columns,
            names,
            most_columns: capabilities.columns,
            keep_records: capabilities.keep_records,
            keys: Vec::new(),
            versions: Vec::new(),
            rows: 0,
            bytes: 0,
            extracted_at: Vec::new(),
            sequence: Vec::new(),
            records: Vec::new(),
            rejected: Vec::new(),
            last_extracted: (String::new(), 0),
            overflow,
            made: Vec::new(),
            decided: Vec::new(),
            extra: Vec::new(),
            scratch: String::new(),
        };
        converter.plant();
        converter
    }

    /// The same for a destination with limits of its own.
    pub fn within(mut self, capabilities: Capabilities) -> Self {
        self.names.limit = capabilities.name_bytes;
        self.most_columns = capabilities.columns;
        for name in capabilities.reserved {
            self.names.reserve(name);
        }
        self.keep_records = capabilities.keep_records;
        self
    }

    /// Takes in fields the stream was declared to have since. Call it between batches; what has a
    /// column keeps its type.
    pub fn learn(&mut self, fields: &Object) {
        if self.fields != *fields {
            self.fields = fields.clone();
            self.plant();
        }
    }

    /// Builds the tree of fields from the schema and the columns there are.
    fn plant(&mut self) {
        let mut nodes = plant(&self.fields);
        for (position, Building { column, .. }) in self.columns.iter().enumerate() {
            if column.path.is_empty() {
                continue;
            }
            if let Some(node) = seek(&mut nodes, &column.path) {
                nodes[node].columns.push((column.ty, position));
                if column.primary {
                    nodes[node].primary = Some(column.ty);
                }
            }
        }
        let mut find = |fields: &[String]| -> Vec<usize> {
            fields.iter().map(|field| child(&mut nodes, 0, field, true)).collect()
        };
        self.keys = find(&self.key_fields);
        self.versions = find(&self.version_fields);
        self.nodes = nodes;
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
        match self.record(text) {
            Ok(true) => {
                self.rows += 1;
                if self.keep_records {
                    self.records.push(text.into());
                }
            }
            Ok(false) => {}
            Err(refusal) => {
                self.take_back();
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
        let record = if record.len() > REJECTED_BYTES {
            let mut end = REJECTED_BYTES;
            while !record.is_char_boundary(end) {
                end -= 1;
            }
            format!("{}… ({} bytes in all)", &record[..end], record.len())
        } else {
            record.to_owned()
        };
        self.bytes += record.len();
        self.rejected.push(RejectedRow { reason: reason.into(), record });
    }

    /// Whether the batch is large enough to be [finished](Self::finish).
    #[inline]
    pub fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// Ends the batch, or gives nothing when there is nothing in it.
    pub fn finish(&mut self) -> Option<Batch> {
        if self.rows == 0 && self.rejected.is_empty() {
            return None;
        }
        let mut batch = Batch {
            rows: self.rows,
            extracted_at: std::mem::take(&mut self.extracted_at),
            sequence: std::mem::take(&mut self.sequence),
            records: std::mem::take(&mut self.records),
            rejected: std::mem::take(&mut self.rejected),
            ..Batch::default()
        };
        for (position, building) in self.columns.iter_mut().enumerate() {
            let Some(array) = building.builder.finish(self.rows) else { continue };
            batch.columns.push((position, array));
            if !building.exists {
                building.exists = true;
                batch.new.push((position, building.column.clone()));
            }
        }
        batch.keys = self.keys.iter().filter_map(|&node| self.own_column(node)).collect();
        batch.versions = self
            .versions
            .iter()
            .map(|&node| self.nodes[node].columns.iter().map(|&(_, position)| position).collect())
            .collect();
        self.rows = 0;
        self.bytes = 0;
        if self.nodes.len() > MAX_FIELDS {
            self.plant();
        }
        for node in &mut self.nodes {
            node.met = 0;
        }
        batch.keep_newest();
        Some(batch)
    }

    /// The position of the field's own column, once it has one.
    fn own_column(&self, node: usize) -> Option<usize> {
        let node = &self.nodes[node];
        let primary = node.primary?;
        node.columns.iter().find(|(ty, _)| *ty == primary).map(|&(_, position)| position)
    }

    /// Reads one line; true when it became a row.
    fn record(&mut self, text: &str) -> Result<bool, Refusal> {
        self.made.clear();
        self.decided.clear();
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
        self.members(&mut r, 0)?;
        r.end()?;
        self.check_key()?;
        if !self.extra.is_empty() {
            self.overflow();
        }
        self.extracted_at.push(extracted_at);
        self.sequence.push(sequence);
        Ok(true)
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
        for &key in &self.keys {
            let node = &self.nodes[key];
            let name = node.path.last().map_or("", String::as_str);
            let own = self.own_column(key);
            if own.is_some_and(|at| self.columns[at].builder.len() == self.rows + 1) {
                continue;
            }
            let other = node
                .columns
                .iter()
                .find(|&&(_, at)| self.columns[at].builder.len() == self.rows + 1);
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
                self.nodes[key].primary,
                None | Some(ColumnType::Json | ColumnType::List(_) | ColumnType::Decimal)
            )
        }) {
            let name = self.nodes[key].path.last().map_or("", String::as_str);
            return Err(Refusal::Reason(format!("the key `{name}` is an object or array")));
        }
        Ok(())
    }

    /// Removes what the current row has left in columns, and the columns, names and types that
    /// only it asked for: its neighbours must look as if it had not been there.
    fn take_back(&mut self) {
        while let Some(node) = self.made.pop() {
            let Some(Building { column, .. }) = self.columns.pop() else { break };
            let at = self.columns.len();
            match node {
                Some(node) => {
                    self.nodes[node].columns.retain(|&(_, position)| position != at);
                    self.names.release(&column.name);
                }
                None => self.overflow = None,
            }
        }
        for node in self.decided.drain(..) {
            self.nodes[node].primary = None;
        }
        for building in &mut self.columns {
            building.builder.truncate(self.rows);
        }
        for node in &mut self.nodes {
            if node.met == self.rows + 1 {
                node.met = 0;
            }
        }
        self.extra.clear();
    }

    /// Reads the members of an object that was entered, up to its end.
    fn members(&mut self, r: &mut Reader<'_>, owner: usize) -> Result<(), Refusal> {
        let mut expected = 0;
        let mut before = None;
        loop {
            let Some(fields) = &self.nodes[owner].fields else { return Ok(()) };
            let at = match fields.children.get(expected) {
                Some(child) if r.key_if(&child.quoted) => expected,
                _ => {
                    let Some(key) = r.key()? else { return Ok(()) };
                    let Some(at) = self.look_up(owner, key, before) else {
                        r.skip()?;
                        continue;
                    };
                    at
                }
            };
            let Some(child) = self.nodes[owner].fields.as_ref().map(|f| &f.children[at]) else {
                return Ok(());
            };
            (expected, before) = (child.next, Some(at));
            let node = child.node;
            self.value(r, node)?;
        }
    }

    /// The member's position by its key, made if it is new; `None` when it is not to be kept.
    fn look_up(&mut self, owner: usize, key: Text<'_>, before: Option<usize>) -> Option<usize> {
        let key = key.decode();
        let fields = self.nodes[owner].fields.as_ref()?;
        let at = match fields.index.get(&*key) {
            Some(&at) => at,
            None if fields.open => {
                child(&mut self.nodes, owner, &key, false);
                self.nodes[owner].fields.as_ref()?.children.len() - 1
            }
            None => return None,
        };
        if let Some(before) = before {
            self.nodes[owner].fields.as_mut()?.children[before].next = at;
        }
        Some(at)
    }

    /// Reads the value of a field into the column for it.
    #[inline]
    fn value(&mut self, r: &mut Reader<'_>, node: usize) -> Result<(), Refusal> {
        if self.nodes[node].met == self.rows + 1 {
            // The key stands twice in this record: the last one counts.
            self.clear(node);
        }
        let peek = r.peek()?;
        if peek == Peek::Null {
            return Ok(r.null()?);
        }
        self.nodes[node].met = self.rows + 1;
        match peek {
            Peek::String => {
                let text = r.string()?;
                self.text(node, text);
            }
            Peek::Number => {
                let literal = r.number()?;
                self.number(node, literal);
            }
            Peek::Bool => {
                let value = r.bool()?;
                self.decide(node, ColumnType::Boolean);
                match self.column(node, ColumnType::Boolean) {
                    Some(builder) => builder.push_bool(value),
                    None => self.extra.push((node, value.to_string())),
                }
            }
            Peek::Object if self.nodes[node].fields.is_some() => {
                r.object()?;
                self.members(r, node)?;
            }
            Peek::Array => self.array(r, node)?,
            Peek::Object => {
                let span = r.skip()?;
                self.json(node, span);
            }
            Peek::Null => {}
        }
        Ok(())
    }

    fn text(&mut self, node: usize, text: Text<'_>) {
        if self.nodes[node].primary == Some(ColumnType::DateTime)
            && !text.escaped
            && let Some(micros) = time::micros(text.raw)
        {
            match self.column(node, ColumnType::DateTime) {
                Some(builder) => builder.push_int(micros),
                None => self.extra.push((node, format!("\"{}\"", text.raw))),
            }
            return;
        }
        self.decide(node, ColumnType::Text);
        if !text.escaped {
            match self.column(node, ColumnType::Text) {
                Some(builder) => builder.push_text(text.raw),
                None => self.extra.push((node, format!("\"{}\"", text.raw))),
            }
            return;
        }
        let mut decoded = std::mem::take(&mut self.scratch);
        decoded.clear();
        text.decode_into(&mut decoded);
        match self.column(node, ColumnType::Text) {
            Some(builder) => builder.push_text(&decoded),
            None => self.extra.push((node, format!("\"{}\"", text.raw))),
        }
        self.scratch = decoded;
    }

    fn number(&mut self, node: usize, literal: &str) {
        let whole = number::is_whole(literal);
        let natural = if whole { ColumnType::BigInt } else { ColumnType::Double };
        self.decide(node, natural);
        let as_double = !whole || self.nodes[node].primary == Some(ColumnType::Double);
        if !as_double && let Some(value) = number::integer(literal) {
            if let Some(builder) = self.column(node, ColumnType::BigInt) {
                return builder.push_int(value);
            }
        } else if as_double && let Some(value) = number::exact_double(literal) {
            if let Some(builder) = self.column(node, ColumnType::Double) {
                return builder.push_double(value);
            }
        } else if let Some(value) = number::exact_decimal(literal) {
            if let Some(builder) = self.column(node, ColumnType::Decimal) {
                return builder.push_decimal(value);
            }
        } else if let Some(builder) = self.column(node, ColumnType::Text) {
            return builder.push_text(literal);
        }
        self.extra.push((node, literal.to_owned()));
    }

    fn array(&mut self, r: &mut Reader<'_>, node: usize) -> Result<(), Refusal> {
        if let Some(ColumnType::List(item)) = self.nodes[node].primary {
            let start = r.clone();
            if let Some(builder) = self.column(node, ColumnType::List(item)) {
                if list(r, builder, item)? {
                    return Ok(());
                }
                builder.abandon_list();
            }
            *r = start;
        }
        let span = r.skip()?;
        self.json(node, span);
        Ok(())
    }

    fn json(&mut self, node: usize, span: &str) {
        self.decide(node, ColumnType::Json);
        match self.column(node, ColumnType::Json) {
            Some(builder) => builder.push_text(span),
            None => self.extra.push((node, span.to_owned())),
        }
    }

    /// Lets the first value decide the type of a field that nothing else decided.
    #[inline]
    fn decide(&mut self, at: usize, natural: ColumnType) {
        let node = &mut self.nodes[at];
        if node.primary.is_none() && node.fields.is_none() {
            node.primary = Some(natural);
            self.decided.push(at);
        }
    }

    /// The builder of the field's column of that type, filled up to the current row; none when
    /// the table has no room for another column.
    #[inline]
    fn column(&mut self, node: usize, ty: ColumnType) -> Option<&mut Builder> {
        let found = self.nodes[node].columns.iter().find(|(t, _)| *t == ty).map(|&(_, at)| at);
        let at = match found {
            Some(at) => at,
            None => self.add_column(node, ty)?,
        };
        let builder = &mut self.columns[at].builder;
        builder.pad(self.rows);
        Some(builder)
    }

    fn add_column(&mut self, node: usize, ty: ColumnType) -> Option<usize> {
        let field = &self.nodes[node];
        if !field.declared && self.columns.len() >= self.most_columns {
            return None;
        }
        let primary = field.primary == Some(ty);
        let path: Vec<&str> = field.path.iter().map(String::as_str).collect();
        let name = self.names.claim(&path, (!primary).then_some(ty.suffix()));
        let column = Column {
            path: field.path.clone(),
            ty,
            name,
            primary,
            description: field.description.clone().filter(|_| primary),
        };
        Some(self.push_column(column, Some(node)))
    }

    fn push_column(&mut self, column: Column, node: Option<usize>) -> usize {
        let at = self.columns.len();
        self.made.push(node);
        if let Some(node) = node {
            let columns = &mut self.nodes[node].columns;
            columns.push((column.ty, at));
            if column.primary {
                columns.rotate_right(1);
            }
        }
        let builder = Builder::new(column.ty);
        self.columns.push(Building { column, exists: false, builder });
        at
    }

    /// Takes back the value a field was given earlier in the current row.
    fn clear(&mut self, node: usize) {
        self.nodes[node].met = 0;
        for &(_, at) in &self.nodes[node].columns {
            self.columns[at].builder.truncate(self.rows);
        }
        self.extra.retain(|(owner, _)| *owner != node);
        let members: Vec<usize> = match &self.nodes[node].fields {
            Some(fields) => fields.children.iter().map(|child| child.node).collect(),
            None => Vec::new(),
        };
        for member in members {
            if self.nodes[member].met == self.rows + 1 {
                self.clear(member);
            }
        }
    }

    /// Writes the current row's fields without column to the overflow column.
    fn overflow(&mut self) {
        let mut object = vec![b'{'];
        for (node, value) in std::mem::take(&mut self.extra) {
            if object.len() > 1 {
                object.push(b',');
            }
            let mut path = String::new();
            for (level, part) in self.nodes[node].path.iter().enumerate() {
                if level > 0 {
                    path.push('.');
                }
                path.push_str(&part.replace('\\', "\\\\").replace('.', "\\."));
            }
            write_string(&mut object, &path);
            object.push(b':');
            object.extend_from_slice(value.as_bytes());
        }
        object.push(b'}');
        let at = match self.overflow {
            Some(at) => at,
            None => {
                let column = Column {
                    path: Vec::new(),
                    ty: ColumnType::Json,
                    name: OVERFLOW.to_owned(),
                    primary: true,
                    description: Some("fields beyond the table's limit of columns".to_owned()),
                };
                let at = self.push_column(column, None);
                self.overflow = Some(at);
                at
            }
        };
        let builder = &mut self.columns[at].builder;
        builder.pad(self.rows);
        builder.push_text(&String::from_utf8_lossy(&object));
    }
}

/// Reads an array into a list; false (with items left to abandon) when an item is of another type.
fn list(r: &mut Reader<'_>, builder: &mut Builder, item: Scalar) -> Result<bool, Refusal> {
    let Some(items) = builder.items() else { return Ok(false) };
    r.array()?;
    while r.item()? {
        match (r.peek()?, item) {
            (Peek::Null, _) => {
                r.null()?;
                items.pad(items.len() + 1);
            }
            (Peek::String, Scalar::Text) => {
                let text = r.string()?;
                if text.escaped {
                    items.push_text(&text.decode());
                } else {
                    items.push_text(text.raw);
                }
            }
            (Peek::String, Scalar::DateTime) => match time::micros(r.string()?.raw) {
                Some(micros) => items.push_int(micros),
                None => return Ok(false),
            },
            (Peek::Number, Scalar::BigInt) => match number::integer(r.number()?) {
                Some(value) => items.push_int(value),
                None => return Ok(false),
            },
            (Peek::Number, Scalar::Double) => match number::exact_double(r.number()?) {
                Some(value) => items.push_double(value),
                None => return Ok(false),
            },
            (Peek::Bool, Scalar::Boolean) => items.push_bool(r.bool()?),
            _ => return Ok(false),
        }
    }
    builder.push_list();
    Ok(true)
}
