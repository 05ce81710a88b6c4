//! Words to write down fields with.

use bobbin_core::schema::{Kind, Object, Schema};

/// A declared field.
pub(super) struct Field {
    name: &'static str,
    schema: Schema,
}

impl Field {
    /// Adds what it means.
    pub(super) fn about(mut self, text: &str) -> Self {
        self.schema = self.schema.describe(text);
        self
    }

    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// The field as an object's property.
    pub(super) fn into_property(self) -> (String, Schema) {
        (self.name.to_owned(), self.schema)
    }
}

fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, schema: Schema::of(kind) }
}

/// Text.
pub(super) fn text(name: &'static str) -> Field {
    field(name, Kind::Text)
}

/// A whole number.
pub(super) fn int(name: &'static str) -> Field {
    field(name, Kind::Integer)
}

/// A number.
pub(super) fn num(name: &'static str) -> Field {
    field(name, Kind::Number)
}

/// True or false.
pub(super) fn flag(name: &'static str) -> Field {
    field(name, Kind::Boolean)
}

/// An instant.
pub(super) fn time(name: &'static str) -> Field {
    field(name, Kind::DateTime)
}

/// Anything.
pub(super) fn any(name: &'static str) -> Field {
    field(name, Kind::Any)
}

/// An object whose keys are data.
pub(super) fn map(name: &'static str) -> Field {
    Field { name, schema: Schema::map() }
}

/// A structure.
pub(super) fn object(name: &'static str, fields: Vec<Field>) -> Field {
    Field { name, schema: structure(fields) }
}

/// An array of texts, most often ids.
pub(super) fn texts(name: &'static str) -> Field {
    Field { name, schema: Schema::array(Schema::of(Kind::Text)) }
}

/// An array of anything.
pub(super) fn anys(name: &'static str) -> Field {
    Field { name, schema: Schema::array(Schema::of(Kind::Any)) }
}

/// An array of structures.
pub(super) fn objects(name: &'static str, fields: Vec<Field>) -> Field {
    Field { name, schema: Schema::array(structure(fields)) }
}

fn structure(fields: Vec<Field>) -> Schema {
    Schema::of(Kind::Object(Object {
        properties: fields.into_iter().map(Field::into_property).collect(),
        open: true,
    }))
}

/// The mood a text was written in, as Kustomer guesses it.
pub(super) fn sentiment() -> Field {
    object(
        "sentiment",
        vec![
            int("polarity").about("-1 bad, 0 neutral, 1 good"),
            num("confidence").about("How sure the guess is, from 0 to 1"),
        ],
    )
    .about("Mood of the text, as guessed by Kustomer")
}
