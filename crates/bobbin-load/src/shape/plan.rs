//! What a stream's tables would look like once every declared field has come.
//!
//! A [`Converter`] is asked for the columns it would give and is used up by that. Names are given
//! as loading gives them to a record with every declared field, in the same order by the same
//! code; other records may come first, and then only names that clash can differ.

use bobbin_core::catalog::Stream;
use bobbin_core::plan::{ColumnPlan, ColumnState, TablePlan, TableState};

use super::convert::{Converter, MADE_KEY};
use super::layout::Arrays;
use super::name;
use super::tree::Sub;
use super::types::ColumnType;

/// One of a stream's tables.
#[derive(Clone, Debug)]
pub struct SheetPlan {
    /// Which.
    pub sub: Sub,
    /// Columns that every row has, before the table's own, with their types as far as decided.
    pub lead: Vec<(String, Option<ColumnType>)>,
    /// Its own columns: those remembered, then those to come.
    pub columns: Vec<Planned>,
    /// The columns of the record's key.
    pub key: Vec<String>,
}

/// One column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    /// Its name; for a field that gets none, the field's path.
    pub name: String,
    /// Its type, as far as decided.
    pub ty: Option<ColumnType>,
    /// Whether it is there.
    pub state: ColumnState,
}

/// What the destination knows of a table and the converter does not.
#[allow(missing_debug_implementations, reason = "it holds a function")]
pub struct Place<'a> {
    /// The stream.
    pub stream: &'a Stream,
    /// The table's name, or the reason why it has none.
    pub table: Result<String, String>,
    /// The columns that were found in it; none when it is not there.
    pub found: &'a [(String, String)],
    /// The columns every table has.
    pub system: &'a [(&'a str, ColumnType)],
    /// Whether rows are replaced by newer ones of the same key.
    pub keyed: bool,
    /// Whether two names that differ in case alone are two names.
    pub case_sensitive: bool,
    /// What the destination calls a type.
    pub type_name: &'a dyn Fn(ColumnType) -> String,
}

impl Converter {
    /// The stream's tables with every declared field's column, its own first.
    pub fn plan(mut self) -> Vec<SheetPlan> {
        let remembered: Vec<Vec<Planned>> =
            self.sheets.iter().map(super::sheet::Sheet::remembered).collect();
        let mut walk = Walk { columns: remembered, keys: vec![None; self.keys.len()] };
        self.plan_sheet(0, &mut walk);
        // Tables of arrays that are not declared, or not any more.
        for at in 1..self.sheets.len() {
            self.plan_sheet(at, &mut walk);
        }
        let mut key: Vec<(String, Option<ColumnType>)> = walk.keys.into_iter().flatten().collect();
        if self.keys.is_empty() {
            key.push((MADE_KEY.to_owned(), Some(ColumnType::Text)));
        }
        let limit = self.capabilities.name_bytes;
        let mut plans = Vec::new();
        for (sheet, columns) in self.sheets.iter().zip(walk.columns) {
            let mut lead = Vec::new();
            if !sheet.sub.is_own() {
                lead.extend(key.iter().map(|(key, ty)| (name::source_key(key, limit), *ty)));
                lead.extend(
                    (0..sheet.sub.depth())
                        .map(|level| (format!("_sdc_level_{level}_id"), Some(ColumnType::BigInt))),
                );
            } else if self.keys.is_empty() {
                lead.clone_from(&key);
            }
            let names = if sheet.sub.is_own() { &key } else { &lead };
            let key = names.iter().map(|(name, _)| name.clone()).collect();
            plans.push(SheetPlan { sub: sheet.sub.clone(), lead, columns, key });
        }
        plans
    }

    fn plan_sheet(&mut self, s: usize, walk: &mut Walk) {
        if !std::mem::replace(&mut self.sheets[s].planned, true) {
            self.plan_node(s, 0, walk);
        }
    }

    /// Goes through a field and its members in the order they are declared in.
    fn plan_node(&mut self, s: usize, node: usize, walk: &mut Walk) {
        let sheet = &self.sheets[s];
        let field = &sheet.nodes[node];
        // The root of an array's items is a field, too: for items that are no objects.
        let has_column = match node {
            0 => !sheet.sub.is_own() && sheet.has_plain_items(),
            _ => field.fields.is_none() && field.declared,
        };
        let mut column = None;
        if self.layout.arrays == Arrays::Tables && field.items.is_some() {
            let at = match field.child {
                Some(at) => at,
                None => self.add_sheet(s, node),
            };
            walk.columns.resize(self.sheets.len(), Vec::new());
            self.plan_sheet(at, walk);
        } else if has_column {
            column = self.sheets[s].plan_column(node);
        }
        if s == 0
            && let Some(at) = self.keys.iter().position(|&key| key == node)
        {
            let held = self.sheets[0].own_column(node).map(|at| {
                let column = &self.sheets[0].columns[at].column;
                (column.name.clone(), Some(column.ty))
            });
            walk.keys[at] = held.or_else(|| column.as_ref().map(|new| (new.name.clone(), new.ty)));
        }
        walk.columns[s].extend(column);
        let fields = self.sheets[s].nodes[node].fields.as_ref();
        let members: Vec<usize> =
            fields.map_or_else(Vec::new, |fields| fields.children.iter().map(|c| c.node).collect());
        for member in members {
            self.plan_node(s, member, walk);
        }
    }
}

/// What was found on the way through the fields.
struct Walk {
    /// The columns of each sheet.
    columns: Vec<Vec<Planned>>,
    /// The key's columns, in the order of the key.
    keys: Vec<Option<(String, Option<ColumnType>)>>,
}

impl SheetPlan {
    /// The plan of the table, for people.
    pub fn table(self, place: Place<'_>) -> TablePlan {
        let Place { stream, table, found, system, keyed, case_sensitive, type_name } = place;
        let exists = !found.is_empty();
        let fixed = if exists { ColumnState::There } else { ColumnState::FirstValue };
        let fixed = |name: String, ty: Option<ColumnType>| ColumnPlan {
            name,
            ty: ty.map(type_name),
            state: fixed.clone(),
        };
        let mut columns: Vec<ColumnPlan> =
            self.lead.into_iter().map(|(name, ty)| fixed(name, ty)).collect();
        columns.extend(self.columns.into_iter().map(|column| ColumnPlan {
            name: column.name,
            ty: column.ty.map(type_name),
            state: column.state,
        }));
        columns.extend(system.iter().map(|(name, ty)| fixed((*name).to_owned(), Some(*ty))));
        let ours = columns.len();
        for (name, ty) in found {
            if !columns[..ours].iter().any(|column| is_called(column, name, case_sensitive)) {
                columns.push(ColumnPlan {
                    name: name.clone(),
                    ty: Some(ty.clone()),
                    state: ColumnState::Yours,
                });
            }
        }
        let (table, state) = match table {
            Ok(table) if exists => (table, TableState::There),
            Ok(table) => (table, TableState::Made),
            Err(reason) => {
                let mut parts = vec![stream.name.as_str()];
                parts.extend(self.sub.parts());
                let message = format!("its records are set aside: {reason}");
                (parts.join("__"), TableState::Stops { message, hint: Some(NO_NAME.to_owned()) })
            }
        };
        let key = if keyed { self.key } else { Vec::new() };
        TablePlan { stream: stream.name.clone(), table, state, key, columns }
    }
}

/// Whether a column that was found is this one.
fn is_called(column: &ColumnPlan, found: &str, case_sensitive: bool) -> bool {
    let same =
        if case_sensitive { column.name == found } else { column.name.eq_ignore_ascii_case(found) };
    same && !matches!(column.state, ColumnState::Refused { .. })
}

/// What to do about a table without a name.
const NO_NAME: &str = "every table has a name under naming = \"bobbin\"";
