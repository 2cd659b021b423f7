//! What requests are grouped by, in the columns of the index.

use smallvec::SmallVec;

use crate::search::summary::spec::Key;

/// Names of the columns that a key's text is made of.
fn parts(key: Key) -> &'static [&'static str] {
    match key {
        Key::User => &["as", "user"],
        Key::Authenticated => &["user"],
        Key::Verb => &["verb"],
        Key::Resource => &["resource", "group", "subresource"],
        Key::Group => &["group"],
        Key::Plural => &["resource"],
        Key::Subresource => &["subresource"],
        Key::Name => &["name"],
        Key::Namespace => &["namespace"],
        Key::Client => &["agent"],
        Key::Code | Key::Class => &["code"],
        Key::Reason => &["failure"],
        Key::Ip => &["ip"],
        Key::Decision => &["decision"],
        Key::Path => &["nonResourceURL"],
        Key::DryRun => &["dryRun"],
        Key::Manager => &["manager"],
        Key::FailedStage => &["failedStage"],
    }
}

/// The text of a key: what a group has in common. Empty where an event does not say.
fn text(key: Key, parts: &[&str]) -> String {
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    match key {
        // Whom they acted as, if they did.
        Key::User if part(0).is_empty() => part(1).to_string(),
        Key::Code if part(0) == "0" => String::new(),
        Key::Class => match part(0).parse::<u64>() {
            Ok(code) if code > 0 => format!("{}xx", code / 100),
            _ => String::new(),
        },
        // `deployments.apps/scale`.
        Key::Resource if part(0).is_empty() => String::new(),
        Key::Resource => {
            let mut out = part(0).to_string();
            for (separator, part) in [(".", part(1)), ("/", part(2))] {
                if !part.is_empty() {
                    out.push_str(separator);
                    out.push_str(part);
                }
            }
            out
        }
        _ => part(0).to_string(),
    }
}

/// A key in one segment.
pub(super) struct KeyAt {
    key: Key,
    /// For each part the place of its column; `None` where the segment has none.
    parts: SmallVec<[Option<usize>; 3]>,
}

impl KeyAt {
    /// Of the columns that `open` answers the places of; `None` where the segment has none.
    pub(super) fn open(
        key: Key,
        open: impl FnMut(&'static str) -> tantivy::Result<Option<usize>>,
    ) -> tantivy::Result<Self> {
        let parts = parts(key).iter().copied().map(open);
        Ok(KeyAt {
            key,
            parts: parts.collect::<tantivy::Result<_>>()?,
        })
    }

    /// Places of the columns that are there: their values tell groups apart.
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().flatten().copied()
    }

    /// The text of a group. `texts` has those of the columns that are there, in order, and is left
    /// at what follows.
    pub(super) fn text<'t>(&self, texts: &mut impl Iterator<Item = &'t str>) -> String {
        let parts = self.parts.iter();
        let parts = parts.map(|part| part.and_then(|_| texts.next()).unwrap_or_default());
        text(self.key, &parts.collect::<SmallVec<[&str; 3]>>())
    }
}

/// The place of the only column of a key, if one tells its groups apart.
pub(super) fn single(key: &KeyAt) -> Option<usize> {
    let mut places = key.columns();
    places.next().filter(|_| places.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_parts() {
        for (key, parts, want) in [
            (Key::User, &["", "alice"][..], "alice"),
            (Key::User, &["bob", "alice"], "bob"),
            (Key::Class, &["404"], "4xx"),
            (Key::Class, &[""], ""),
            (Key::Code, &["0"], ""),
            (
                Key::Resource,
                &["deployments", "apps", "scale"],
                "deployments.apps/scale",
            ),
            (Key::Resource, &["pods", "", "log"], "pods/log"),
            (Key::Resource, &["", "apps", ""], ""),
        ] {
            assert_eq!(text(key, parts), want, "{key:?} {parts:?}");
        }
    }
}
