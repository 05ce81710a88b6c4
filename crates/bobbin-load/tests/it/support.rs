//! Streams, lines, and rows as text.

use arrow::array::Array;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bobbin_core::catalog::Stream;
use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_load::shape::batch::Batch;
use bobbin_load::shape::convert::Converter;
use bobbin_load::shape::tree::Column;

pub fn text() -> Schema {
    Schema::of(Kind::Text)
}

pub fn object(members: &[(&str, Schema)]) -> Schema {
    Schema::of(Kind::Object(fields(members)))
}

pub fn fields(members: &[(&str, Schema)]) -> Object {
    let properties =
        members.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    Object { properties, open: true }
}

pub fn stream(members: &[(&str, Schema)]) -> Stream {
    let mut all = vec![("id", text().required()), ("rev", Schema::of(Kind::Integer))];
    all.extend(members.iter().cloned());
    Stream {
        name: "things".into(),
        fields: fields(&all),
        key: vec!["id".to_owned()],
        replication_key: None,
        version_fields: vec!["rev".to_owned()],
        description: None,
    }
}

/// A record's text as a segment's line.
pub fn line(sequence: i64, record: &str) -> String {
    let rest = record.strip_prefix('{').unwrap_or(record);
    let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
    format!(
        "{{\"_sdc_extracted_at\":\"2026-01-01T00:00:00Z\",\"_sdc_sequence\":{sequence}{comma}{rest}"
    )
}

/// A table in memory: what a destination would hold of the columns.
pub struct Table {
    pub converter: Converter,
    pub columns: Vec<Column>,
}

impl Table {
    pub fn new(stream: &Stream) -> Self {
        Self { converter: Converter::new(stream, Vec::new(), &[]), columns: Vec::new() }
    }

    pub fn load(&mut self, records: &[&str]) -> Batch {
        for (n, record) in records.iter().enumerate() {
            self.converter.line(line(n as i64 + 1, record).as_bytes());
        }
        let batch = self.converter.finish().expect("a batch");
        for (position, column) in &batch.new {
            if self.columns.len() <= *position {
                let gap = Column {
                    path: vec![],
                    ty: column.ty,
                    name: "(gap)".to_owned(),
                    primary: false,
                    description: None,
                };
                self.columns.resize(position + 1, gap);
            }
            self.columns[*position] = column.clone();
        }
        batch
    }

    /// A row's values as `name=value`, nulls left out.
    pub fn row(&self, batch: &Batch, row: usize) -> Vec<String> {
        let options = FormatOptions::default().with_null("null");
        batch
            .columns
            .iter()
            .filter(|(_, array)| array.is_valid(row))
            .map(|(position, array)| {
                let format = ArrayFormatter::try_new(array, &options).unwrap();
                format!("{}={}", self.columns[*position].name, format.value(row))
            })
            .collect()
    }

    pub fn rows(&self, batch: &Batch) -> Vec<Vec<String>> {
        (0..batch.rows).map(|row| self.row(batch, row)).collect()
    }
}
