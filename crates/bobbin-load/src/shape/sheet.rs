//! One table being filled: its fields, its columns, and the values of the row at hand.
//!
//! A sheet knows nothing of other tables; arrays that become tables are led from one sheet to the
//! next by [`super::convert`].

use bobbin_core::json::{Reader, Text, write_string};
use bobbin_core::plan::ColumnState;
use bobbin_core::schema::{Kind, Schema};

use super::batch::Batch;
use super::capabilities::Capabilities;
use super::column::{Builder, list};
use super::envelope::Refusal;
use super::layout::{Layout, Naming, Split};
use super::name::{Names, Refused, cleaned};
use super::plan::Planned;
use super::tree::{Column, ITEM, Node, Sub, child, seek};
use super::types::ColumnType;
use super::{number, time};

/// The column for fields beyond the destination's limit of columns: an object of dotted path to value; a `.` or `\\`
/// in a key is led by a `\\`.
pub const OVERFLOW: &str = "_sdc_extra";

/// A table of a stream as it is remembered between runs.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Which table.
    pub sub: Sub,
    /// The columns it was given, and whether they are there.
    pub columns: Vec<(Column, bool)>,
    /// Columns of the table that are not ours to write.
    pub others: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) sub: Sub,
    pub(super) nodes: Vec<Node>,
    pub(super) columns: Vec<Building>,
    names: Names,
    naming: Naming,
    split: Split,
    most_columns: usize,
    overflow: Option<usize>,
    /// Rows that are whole.
    pub(super) rows: usize,
    /// Rows that were whole when the current record began.
    pub(super) mark: usize,
    /// What the current record has brought, should it be rejected: nodes of new columns, which are
    /// the last ones, nodes whose type it decided, and the names of columns it gave new ones.
    made: Vec<Option<usize>>,
    decided: Vec<usize>,
    former: Vec<(usize, String)>,
    /// Fields of the current row that have no column: node and value.
    pub(super) extra: Vec<(usize, String)>,
    /// Why the current record cannot be taken, found while a name was looked for.
    pub(super) fault: Option<String>,
    /// New names of columns that are there.
    renamed: Vec<(usize, String)>,
    scratch: String,
    /// For rows of arrays: the record's row, the row one table up, and the positions.
    pub(super) parents: Vec<u32>,
    pub(super) above: Vec<u32>,
    pub(super) ids: Vec<Vec<i64>>,
    /// What the array's items are, as far as declared.
    pub(super) items: Option<Schema>,
    /// Whether its columns were asked for ([`super::plan`]).
    pub(super) planned: bool,
}

#[derive(Debug)]
pub(super) struct Building {
    pub(super) column: Column,
    exists: bool,
    pub(super) builder: Builder,
}

impl Sheet {
    pub(super) fn new(known: Known, capabilities: &Capabilities, layout: Layout) -> Self {
        let mut names = Names::of_columns(capabilities, layout.naming);
        for name in &known.others {
            names.reserve(name);
        }
        let mut columns = Vec::with_capacity(known.columns.len());
        for (column, exists) in known.columns {
            names.reserve(&column.name);
            let builder = Builder::new(column.ty);
            columns.push(Building { column, exists, builder });
        }
        let overflow = columns.iter().position(|building| building.column.name == OVERFLOW);
        Self {
            ids: vec![Vec::new(); known.sub.depth()],
            sub: known.sub,
            nodes: Vec::new(),
            columns,
            names,
            naming: layout.naming,
            split: layout.split,
            most_columns: capabilities.columns,
            overflow,
            rows: 0,
            mark: 0,
            made: Vec::new(),
            decided: Vec::new(),
            former: Vec::new(),
            extra: Vec::new(),
            fault: None,
            renamed: Vec::new(),
            scratch: String::new(),
            parents: Vec::new(),
            above: Vec::new(),
            items: None,
            planned: false,
        }
    }

    /// The columns it was given, and whether they are there.
    pub(super) fn remembered(&self) -> Vec<Planned> {
        let state = |exists| if exists { ColumnState::There } else { ColumnState::ComesAgain };
        self.columns
            .iter()
            .map(|Building { column, exists, .. }| Planned {
                name: column.name.clone(),
                ty: Some(column.ty),
                state: state(*exists),
            })
            .collect()
    }

    /// Whether items that are no objects are declared.
    pub(super) fn has_plain_items(&self) -> bool {
        let kind = self.items.as_ref().map(|items| &items.kind);
        !matches!(kind, None | Some(Kind::Object(_) | Kind::Array(_)))
    }

    /// Gives the column that the field's first value would get, where it has none.
    pub(super) fn plan_column(&mut self, node: usize) -> Option<Planned> {
        let field = &self.nodes[node];
        // Among several columns the first value chooses.
        if self.own_column(node).is_some() || field.primary.is_none() && !field.columns.is_empty() {
            return None;
        }
        let ty = field.primary;
        let splits = self.split == Split::Renames && !field.columns.is_empty();
        let suffix = ty.filter(|_| splits).map(ColumnType::suffix);
        let path = column_path(field);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        Some(match self.names.give(&path, suffix) {
            Ok(name) if ty.is_some() => Planned { name, ty, state: ColumnState::FirstValue },
            Ok(name) => Planned { name, ty, state: ColumnState::TypeByFirstValue },
            Err(refused) => {
                let reason = refused.reason().to_owned();
                Planned { name: path.join("."), ty, state: ColumnState::Refused { reason } }
            }
        })
    }

    /// Takes a tree of fields and finds the columns' places in it.
    pub(super) fn planted(&mut self, mut nodes: Vec<Node>) {
        for (position, Building { column, .. }) in self.columns.iter().enumerate() {
            if column.name == OVERFLOW {
                continue;
            }
            if let Some(node) = seek(&mut nodes, &column.path) {
                nodes[node].columns.push((column.ty, position));
                if column.primary {
                    nodes[node].primary = Some(column.ty);
                }
            }
        }
        self.nodes = nodes;
    }

    /// The position of the field's own column, once it has one.
    pub(super) fn own_column(&self, node: usize) -> Option<usize> {
        let node = &self.nodes[node];
        let primary = node.primary?;
        node.columns.iter().find(|(ty, _)| *ty == primary).map(|&(_, position)| position)
    }

    /// Whether the current row has a value in a column.
    pub(super) fn has_value(&self, position: usize) -> bool {
        self.columns[position].builder.len() == self.rows + 1
    }

    /// Whether a row hangs from row `above` of the sheet before.
    pub(super) fn has_row_of(&self, above: usize) -> bool {
        self.above.last().is_some_and(|&row| row as usize == above)
    }

    /// Begins a row of an array's item.
    pub(super) fn begin(&mut self, parent: usize, above: usize, ids: &[i64]) {
        self.parents.push(parent as u32);
        self.above.push(above as u32);
        for (column, id) in self.ids.iter_mut().zip(ids) {
            column.push(*id);
        }
    }

    /// Begins a record: what it brings can be taken back.
    #[inline]
    pub(super) fn begin_record(&mut self) {
        self.mark = self.rows;
        self.made.clear();
        self.decided.clear();
        self.former.clear();
    }

    /// Removes what the current record has left in columns, and the columns, names and types that
    /// only it asked for: its neighbours must look as if it had not been there.
    pub(super) fn take_back(&mut self) {
        for (position, name) in self.former.drain(..).rev() {
            self.renamed.pop();
            let column = &mut self.columns[position].column;
            self.names.release(&std::mem::replace(&mut column.name, name));
        }
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
        self.truncate(self.mark);
        self.fault = None;
    }

    /// Keeps the first `rows` rows and forgets the others, also the one at hand.
    pub(super) fn truncate(&mut self, rows: usize) {
        for building in &mut self.columns {
            building.builder.truncate(rows);
        }
        for node in &mut self.nodes {
            if node.met > rows {
                node.met = 0;
            }
        }
        self.parents.truncate(rows);
        self.above.truncate(rows);
        for ids in &mut self.ids {
            ids.truncate(rows);
        }
        self.rows = rows;
        self.extra.clear();
    }

    /// Moves the columns' values into a batch, and forgets the rows.
    pub(super) fn finish(&mut self, batch: &mut Batch) {
        batch.rows = self.rows;
        for (position, building) in self.columns.iter_mut().enumerate() {
            let Some(array) = building.builder.finish(self.rows) else { continue };
            batch.columns.push((position, array));
            if !building.exists {
                building.exists = true;
                batch.new.push((position, building.column.clone()));
            }
        }
        self.finish_names(batch);
        self.rows = 0;
        for node in &mut self.nodes {
            node.met = 0;
        }
    }

    /// Gives the field a column of that type, if it has none, though there is no value for it yet.
    pub(super) fn provide(
        &mut self,
        node: usize,
        ty: ColumnType,
        batch: &mut Batch,
    ) -> Option<usize> {
        self.begin_record();
        let found = self.nodes[node].columns.iter().find(|(t, _)| *t == ty).map(|&(_, at)| at);
        let at = found.or_else(|| self.add_column(node, ty))?;
        let building = &mut self.columns[at];
        if !std::mem::replace(&mut building.exists, true) {
            batch.new.push((at, building.column.clone()));
        }
        self.finish_names(batch);
        Some(at)
    }

    /// Moves new names of columns that are there into a batch.
    fn finish_names(&mut self, batch: &mut Batch) {
        // A column that is made now is made with its last name.
        let new = |position| batch.new.iter().any(|(at, _)| *at == position);
        let renamed = std::mem::take(&mut self.renamed);
        batch.renamed = renamed
            .into_iter()
            .filter(|(position, _)| self.columns[*position].exists && !new(*position))
            .collect();
    }

    /// Takes back what a finished batch was to change in the table, because none of its rows stayed.
    pub(super) fn unmake(&mut self, batch: &mut Batch) {
        for (position, _) in batch.new.drain(..) {
            self.columns[position].exists = false;
        }
        self.renamed.append(&mut batch.renamed);
    }

    /// The member's position by its key, made if it is new; `None` when it is not to be kept.
    pub(super) fn look_up(
        &mut self,
        owner: usize,
        key: Text<'_>,
        before: Option<usize>,
    ) -> Option<usize> {
        let key = key.decode();
        let fields = self.nodes[owner].fields.as_ref()?;
        let at = match fields.index.get(&*key) {
            Some(&at) => at,
            None if !fields.open => return None,
            None if self.naming == Naming::Stitch => self.look_up_cleaned(owner, &key)?,
            None => {
                child(&mut self.nodes, owner, &key, false);
                self.nodes[owner].fields.as_ref()?.children.len() - 1
            }
        };
        if let Some(before) = before {
            self.nodes[owner].fields.as_mut()?.children[before].next = at;
        }
        Some(at)
    }

    /// Keys that Stitch's naming makes equal are one field.
    fn look_up_cleaned(&mut self, owner: usize, key: &str) -> Option<usize> {
        let names = &self.names;
        let called = |key: &str| names.compared(&cleaned(key));
        let fields = self.nodes[owner].fields.as_mut()?;
        if fields.canonical.len() < fields.children.len() {
            let named = fields.index.iter().map(|(key, &at)| (called(key).into(), at));
            fields.canonical.extend(named);
        }
        let name = called(key);
        if let Some(&at) = fields.canonical.get(name.as_str())
            && !name.is_empty()
        {
            fields.index.insert(key.into(), at);
            let node = fields.children[at].node;
            self.nodes[node].shared = true;
            return Some(at);
        }
        let at = fields.children.len();
        fields.canonical.insert(name.into(), at);
        child(&mut self.nodes, owner, key, false);
        Some(at)
    }

    pub(super) fn text(&mut self, node: usize, text: Text<'_>) {
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

    pub(super) fn number(&mut self, node: usize, literal: &str) -> Result<(), Refusal> {
        let whole = number::is_whole(literal);
        let natural = if whole { ColumnType::BigInt } else { ColumnType::Double };
        self.decide(node, natural);
        let as_double = !whole || self.nodes[node].primary == Some(ColumnType::Double);
        if !as_double && let Some(value) = number::integer(literal) {
            if let Some(builder) = self.column(node, ColumnType::BigInt) {
                builder.push_int(value);
                return Ok(());
            }
        } else if as_double && let Some(value) = number::exact_double(literal) {
            if let Some(builder) = self.column(node, ColumnType::Double) {
                builder.push_double(value);
                return Ok(());
            }
        } else if self.naming == Naming::Stitch && !as_double {
            // F-79; ours goes on with a decimal or text column.
            let path = self.nodes[node].path.join(".");
            return Err(Refusal::Reason(format!("the whole number `{path}` is beyond 64 bits")));
        } else if let Some(value) = number::exact_decimal(literal) {
            if let Some(builder) = self.column(node, ColumnType::Decimal) {
                builder.push_decimal(value);
                return Ok(());
            }
        } else if let Some(builder) = self.column(node, ColumnType::Text) {
            builder.push_text(literal);
            return Ok(());
        }
        self.extra.push((node, literal.to_owned()));
        Ok(())
    }

    pub(super) fn boolean(&mut self, node: usize, value: bool) {
        self.decide(node, ColumnType::Boolean);
        match self.column(node, ColumnType::Boolean) {
            Some(builder) => builder.push_bool(value),
            None => self.extra.push((node, value.to_string())),
        }
    }

    /// Takes an array as a value of one column.
    pub(super) fn array(&mut self, r: &mut Reader<'_>, node: usize) -> Result<(), Refusal> {
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

    pub(super) fn json(&mut self, node: usize, span: &str) {
        self.decide(node, ColumnType::Json);
        match self.column(node, ColumnType::Json) {
            Some(builder) => builder.push_text(span),
            None => self.extra.push((node, span.to_owned())),
        }
    }

    /// Lets the first value decide the type of a field that nothing else decided.
    #[inline]
    fn decide(&mut self, node: usize, natural: ColumnType) {
        let field = &mut self.nodes[node];
        // An array's items may be objects and yet have a column of their own.
        if field.primary.is_none() && (field.fields.is_none() || node == 0) {
            field.primary = Some(natural);
            self.decided.push(node);
        }
    }

    /// The builder of the field's column of that type, filled up to the current row; none when
    /// the table has no room or no name for another column.
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
        if field.refused.is_some() || !field.declared && self.columns.len() >= self.most_columns {
            return None;
        }
        let primary = field.primary == Some(ty);
        let split = self.split == Split::Renames && !field.columns.is_empty();
        let path = column_path(field);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let suffix = (!primary || split).then_some(ty.suffix());
        let name = match self.names.give(&path, suffix) {
            Ok(name) => name,
            Err(Refused::Record(reason)) => {
                self.fault = Some(reason);
                return None;
            }
            Err(Refused::Field(reason)) => {
                self.nodes[node].refused = Some(reason.into());
                return None;
            }
        };
        if split {
            self.rename(node, &path);
        }
        let field = &self.nodes[node];
        let column = Column {
            path: field.path.clone(),
            ty,
            name,
            primary,
            description: field.description.clone().filter(|_| primary),
        };
        Some(self.push_column(column, Some(node)))
    }

    /// Gives the field's first column its suffix, now that there is a second (C6).
    fn rename(&mut self, node: usize, path: &[&str]) {
        let Some(first) = self.own_column(node) else { return };
        let ty = self.columns[first].column.ty;
        if self.columns[first].column.name.ends_with(&format!("__{}", ty.suffix())) {
            return;
        }
        if let Ok(name) = self.names.give(path, Some(ty.suffix())) {
            let before = std::mem::replace(&mut self.columns[first].column.name, name.clone());
            self.former.push((first, before));
            self.renamed.push((first, name));
        }
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
    pub(super) fn clear(&mut self, node: usize) {
        self.nodes[node].met = 0;
        for &(_, at) in &self.nodes[node].columns {
            self.columns[at].builder.truncate(self.rows);
        }
        self.extra.retain(|(owner, _)| *owner != node);
    }

    /// The members of a flattened field that the current row has met.
    pub(super) fn met_members(&self, node: usize) -> Vec<usize> {
        let Some(fields) = &self.nodes[node].fields else { return Vec::new() };
        let members = fields.children.iter().map(|child| child.node);
        members.filter(|&member| self.nodes[member].met == self.rows + 1).collect()
    }

    /// Writes the current row's fields without column to the overflow column; gives the reasons of
    /// those that have no name.
    pub(super) fn overflow(&mut self) -> Vec<String> {
        let mut reasons = Vec::new();
        let mut object = vec![b'{'];
        for (node, value) in std::mem::take(&mut self.extra) {
            let node = &self.nodes[node];
            if let Some(reason) = &node.refused {
                reasons.push(reason.to_string());
                continue;
            }
            if object.len() > 1 {
                object.push(b',');
            }
            let mut path = String::new();
            for (level, part) in node.path.iter().enumerate() {
                if level > 0 {
                    path.push('.');
                }
                path.push_str(&part.replace('\\', "\\\\").replace('.', "\\."));
            }
            if node.path.is_empty() {
                path.push_str(ITEM);
            }
            write_string(&mut object, &path);
            object.push(b':');
            object.extend_from_slice(value.as_bytes());
        }
        object.push(b'}');
        if object.len() == 2 {
            return reasons;
        }
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
        reasons
    }
}

/// What a field's column is named after.
fn column_path(field: &Node) -> Vec<String> {
    if field.path.is_empty() { vec![ITEM.to_owned()] } else { field.path.clone() }
}
