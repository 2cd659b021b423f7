//! What walks over trees ask of a struct at every object, found out once per struct.
//!
//! Called by `normalise`, which passes over every object that is written.

use std::cmp::Ordering;

use super::normalise::{absent, left_out};
use super::{Field, Object};

/// The fields of a struct that matter where they are absent, as indexes into [`Object::fields`].
#[derive(Debug)]
pub(super) struct Plan {
    /// Printed although nobody set them.
    printed: Box<[usize]>,
    /// With a declared default that says something.
    defaulted: Box<[usize]>,
}

impl Plan {
    fn of(object: &Object) -> Self {
        let indexes = |counts: fn(&Field) -> bool| {
            let fields = object.fields.iter().enumerate();
            let counted = fields.filter(|(_, field)| counts(field));
            counted.map(|(index, _)| index).collect()
        };
        Plan {
            printed: indexes(|field| absent(field).is_some()),
            defaulted: indexes(|field| {
                let default = field.default.as_ref();
                default.is_some_and(|default| !left_out(default, field))
            }),
        }
    }
}

impl Object {
    fn plan(&self) -> &Plan {
        self.plan.get_or_init(|| Plan::of(self))
    }

    /// The fields that print although nobody set them.
    pub(super) fn printed(&self) -> impl Iterator<Item = &Field> {
        self.plan().printed.iter().map(|index| &self.fields[*index])
    }

    /// The fields with a declared default that says something.
    pub(super) fn defaulted(&self) -> impl Iterator<Item = &Field> {
        let indexes = self.plan().defaulted.iter();
        indexes.map(|index| &self.fields[*index])
    }

    /// The prefixes of the fields' names. A name is looked for among these few words, and what it
    /// stands for is compared once: fields are far apart in memory, and their names elsewhere.
    pub(super) fn prefixes(&self) -> &[u64] {
        let of = |field: &Field| prefix(&field.name);
        self.prefixes
            .get_or_init(|| self.fields.iter().map(of).collect())
    }

    /// Finds fields by names that come in order, as a tree's members do.
    pub(crate) fn in_order(&self) -> InOrder<'_> {
        InOrder {
            fields: &self.fields,
            prefixes: self.prefixes(),
        }
    }
}

/// The first eight bytes of a name as a number that sorts as names do; equal for some that differ.
pub(super) fn prefix(name: &str) -> u64 {
    if let Some(bytes) = name.as_bytes().first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    let bytes = name.bytes().zip((0..8).rev());
    bytes.fold(0, |word, (byte, place)| {
        word | u64::from(byte) << (8 * place)
    })
}

/// The fields that may still be asked for.
pub(crate) struct InOrder<'a> {
    fields: &'a [Field],
    prefixes: &'a [u64],
}

impl<'a> InOrder<'a> {
    /// The field called `name`, which comes after every name asked for before.
    pub(crate) fn field(&mut self, name: &str) -> Option<&'a Field> {
        let wanted = prefix(name);
        let passed = self.prefixes.iter().take_while(|p| **p < wanted).count();
        self.skip(passed);
        while let (Some(field), Some(prefix)) = (self.fields.first(), self.prefixes.first()) {
            let order = match *prefix == wanted {
                true => field.name.as_ref().cmp(name),
                false => Ordering::Greater,
            };
            if order.is_gt() {
                return None;
            }
            self.skip(1);
            if order.is_eq() {
                return Some(field);
            }
        }
        None
    }

    fn skip(&mut self, count: usize) {
        self.fields = &self.fields[count..];
        self.prefixes = &self.prefixes[count..];
    }
}

#[cfg(test)]
mod tests {
    use crate::api::schema::{Schema, definition};

    #[test]
    fn fields_in_order() {
        let container = definition("io.k8s.api.core.v1.Container").and_then(Schema::object);
        let container = container.expect("known");
        let mut fields = container.in_order();
        let found = ["args", "bogus", "image", "name", "nonsense", "ports", "z"]
            .map(|name| fields.field(name).is_some());
        assert_eq!(found, [true, false, true, true, false, true, false]);
        for (index, field) in container.fields.iter().enumerate() {
            assert_eq!(container.field_index(&field.name), Some(index));
        }
        for name in ["", "a", "argsargs", "terminationMessagePat", "zzzzzzzzzz"] {
            assert_eq!(container.field_index(name), None);
        }
        let printed: Vec<&str> = container.printed().map(|f| f.name.as_ref()).collect();
        assert_eq!(printed, ["name", "resources"]);
    }
}
