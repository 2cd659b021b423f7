//! The members of an object.

use std::collections::{BTreeMap, btree_map};
use std::fmt;

use super::Value;

/// The name of a member. Names up to 24 bytes, nearly all, need no allocation.
pub type Key = compact_str::CompactString;

/// Members up to here are a sorted list; more are a B-tree, in which any order of writes is cheap.
const FEW: usize = 48;

/// Members in the order of their names.
#[derive(Clone)]
pub struct Map(Members);

#[derive(Clone)]
#[expect(
    clippy::box_collection,
    reason = "a B-tree is as large as a list, which would cost every value a word"
)]
enum Members {
    Few(Vec<(Key, Value)>),
    Many(Box<BTreeMap<Key, Value>>),
}

use Members::{Few, Many};

impl Map {
    /// No members.
    pub const fn new() -> Self {
        Map(Few(Vec::new()))
    }

    /// No members, with room for `count`.
    pub fn with_capacity(count: usize) -> Self {
        Map(Few(Vec::with_capacity(count.min(FEW))))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Few(list) => list.len(),
            Many(tree) => tree.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of the member called `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match &self.0 {
            Few(list) => position(list, key).map(|at| &list[at].1),
            Many(tree) => tree.get(key),
        }
    }

    /// As [`Map::get`], to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        match &mut self.0 {
            Few(list) => position(list, key).map(|at| &mut list[at].1),
            Many(tree) => tree.get_mut(key),
        }
    }

    /// The member called `key`.
    pub fn get_key_value(&self, key: &str) -> Option<(&Key, &Value)> {
        match &self.0 {
            Few(list) => {
                let (key, value) = &list[position(list, key)?];
                Some((key, value))
            }
            Many(tree) => tree.get_key_value(key),
        }
    }

    /// Whether there is a member called `key`.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Sets a member; answers the value it had.
    pub fn insert(&mut self, key: Key, value: Value) -> Option<Value> {
        if let Few(list) = &mut self.0 {
            match place(list, &key) {
                Ok(at) => return Some(std::mem::replace(&mut list[at].1, value)),
                Err(at) if list.len() < FEW => {
                    list.insert(at, (key, value));
                    return None;
                }
                Err(_) => {}
            }
        }
        self.many().insert(key, value)
    }

    /// The members as a tree, which they are from now on.
    fn many(&mut self) -> &mut BTreeMap<Key, Value> {
        if let Few(list) = &mut self.0 {
            let members = std::mem::take(list).into_iter().collect();
            self.0 = Many(Box::new(members));
        }
        match &mut self.0 {
            Many(tree) => tree,
            Few(_) => unreachable!("made a tree above"),
        }
    }

    /// Removes a member; answers its value.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.remove_entry(key).map(|(_, value)| value)
    }

    /// Removes a member; answers it.
    pub fn remove_entry(&mut self, key: &str) -> Option<(Key, Value)> {
        match &mut self.0 {
            Few(list) => {
                let at = position(list, key)?;
                Some(list.remove(at))
            }
            Many(tree) => tree.remove_entry(key),
        }
    }

    /// The place of a member, there or not.
    pub fn entry(&mut self, key: Key) -> Entry<'_> {
        Entry { map: self, key }
    }

    /// Keeps the members that `wanted` says yes to.
    pub fn retain(&mut self, mut wanted: impl FnMut(&Key, &mut Value) -> bool) {
        match &mut self.0 {
            Few(list) => list.retain_mut(|(key, value)| wanted(key, value)),
            Many(tree) => tree.retain(wanted),
        }
    }

    /// All members in order.
    pub fn iter(&self) -> Iter<'_> {
        match &self.0 {
            Few(list) => Iter::Few(list.iter()),
            Many(tree) => Iter::Many(tree.iter()),
        }
    }

    /// As [`Map::iter`], to change their values.
    pub fn iter_mut(&mut self) -> IterMut<'_> {
        match &mut self.0 {
            Few(list) => IterMut::Few(list.iter_mut()),
            Many(tree) => IterMut::Many(tree.iter_mut()),
        }
    }

    /// All names in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Key> + ExactSizeIterator + Clone {
        self.iter().map(|(key, _)| key)
    }

    /// All values, in the order of their names.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Value> + ExactSizeIterator + Clone {
        self.iter().map(|(_, value)| value)
    }

    /// As [`Map::values`], to change them.
    pub fn values_mut(
        &mut self,
    ) -> impl DoubleEndedIterator<Item = &mut Value> + ExactSizeIterator {
        self.iter_mut().map(|(_, value)| value)
    }

    /// The names alone.
    pub fn into_keys(self) -> impl DoubleEndedIterator<Item = Key> + ExactSizeIterator {
        self.into_iter().map(|(key, _)| key)
    }

    /// The values alone.
    pub fn into_values(self) -> impl DoubleEndedIterator<Item = Value> + ExactSizeIterator {
        self.into_iter().map(|(_, value)| value)
    }
}

/// Where a member is. Nearly all others differ in length or in the first byte.
fn position(list: &[(Key, Value)], key: &str) -> Option<usize> {
    let key = key.as_bytes();
    list.iter().position(|(other, _)| {
        let other = other.as_bytes();
        other.len() == key.len() && other.first() == key.first() && other == key
    })
}

/// Where in the list `key` is, or belongs. Most members come in order: the end is looked at first.
fn place(list: &[(Key, Value)], key: &Key) -> Result<usize, usize> {
    match list.last() {
        None => Err(0),
        Some((last, _)) if last < key => Err(list.len()),
        Some(_) => list.binary_search_by(|(k, _)| k.cmp(key)),
    }
}

/// The place of a member.
pub struct Entry<'a> {
    map: &'a mut Map,
    key: Key,
}

impl<'a> Entry<'a> {
    /// Its value; `value` is set where there is none.
    pub fn or_insert(self, value: Value) -> &'a mut Value {
        self.or_insert_with(|| value)
    }

    /// As [`Entry::or_insert`]; the value is made when it is needed.
    pub fn or_insert_with(self, value: impl FnOnce() -> Value) -> &'a mut Value {
        let Entry { map, key } = self;
        if let Few(list) = &map.0
            && list.len() == FEW
            && !map.contains_key(&key)
        {
            map.many();
        }
        match &mut map.0 {
            Few(list) => {
                let at = place(list, &key).unwrap_or_else(|at| {
                    list.insert(at, (key, value()));
                    at
                });
                &mut list[at].1
            }
            Many(tree) => tree.entry(key).or_insert_with(value),
        }
    }

    /// Changes its value, if there is one.
    #[must_use]
    pub fn and_modify(self, change: impl FnOnce(&mut Value)) -> Self {
        if let Some(value) = self.map.get_mut(&self.key) {
            change(value);
        }
        self
    }
}

impl Default for Map {
    fn default() -> Self {
        Map::new()
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Map {}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl std::ops::Index<&str> for Map {
    type Output = Value;

    /// # Panics
    /// Where there is no such member.
    fn index(&self, key: &str) -> &Value {
        self.get(key).expect("a member of that name")
    }
}

impl<K: Into<Key>> Extend<(K, Value)> for Map {
    fn extend<T: IntoIterator<Item = (K, Value)>>(&mut self, members: T) {
        for (key, value) in members {
            self.insert(key.into(), value);
        }
    }
}

impl<K: Into<Key>> FromIterator<(K, Value)> for Map {
    fn from_iter<T: IntoIterator<Item = (K, Value)>>(members: T) -> Self {
        let members = members.into_iter();
        let mut map = Map::with_capacity(members.size_hint().0);
        map.extend(members);
        map
    }
}

/// Members, see [`Map::iter`].
#[derive(Clone)]
pub enum Iter<'a> {
    #[doc(hidden)]
    Few(std::slice::Iter<'a, (Key, Value)>),
    #[doc(hidden)]
    Many(btree_map::Iter<'a, Key, Value>),
}

/// Members, see [`Map::iter_mut`].
pub enum IterMut<'a> {
    #[doc(hidden)]
    Few(std::slice::IterMut<'a, (Key, Value)>),
    #[doc(hidden)]
    Many(btree_map::IterMut<'a, Key, Value>),
}

/// Members of a map that is taken apart.
pub enum IntoIter {
    #[doc(hidden)]
    Few(std::vec::IntoIter<(Key, Value)>),
    #[doc(hidden)]
    Many(btree_map::IntoIter<Key, Value>),
}

macro_rules! iterator {
    ($name:ty, $lifetime:lifetime, $item:ty, $few:pat => $member:expr) => {
        impl<$lifetime> Iterator for $name {
            type Item = $item;

            fn next(&mut self) -> Option<$item> {
                match self {
                    Self::Few(list) => list.next().map(|$few| $member),
                    Self::Many(tree) => tree.next(),
                }
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                match self {
                    Self::Few(list) => list.size_hint(),
                    Self::Many(tree) => tree.size_hint(),
                }
            }
        }

        impl<$lifetime> DoubleEndedIterator for $name {
            fn next_back(&mut self) -> Option<$item> {
                match self {
                    Self::Few(list) => list.next_back().map(|$few| $member),
                    Self::Many(tree) => tree.next_back(),
                }
            }
        }

        impl<$lifetime> ExactSizeIterator for $name {}
    };
}

iterator!(Iter<'a>, 'a, (&'a Key, &'a Value), (key, value) => (key, value));
iterator!(IterMut<'a>, 'a, (&'a Key, &'a mut Value), (key, value) => (&*key, value));
iterator!(IntoIter, 'a, (Key, Value), member => member);

impl<'a> IntoIterator for &'a Map {
    type Item = (&'a Key, &'a Value);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Map {
    type Item = (&'a Key, &'a mut Value);
    type IntoIter = IterMut<'a>;

    fn into_iter(self) -> IterMut<'a> {
        self.iter_mut()
    }
}

impl IntoIterator for Map {
    type Item = (Key, Value);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        match self.0 {
            Few(list) => IntoIter::Few(list.into_iter()),
            Many(tree) => IntoIter::Many(tree.into_iter()),
        }
    }
}
