//! Trees held against those of `serde_json`.

use proptest::prelude::*;

use super::*;

/// Trees of all kinds, with few and with many members.
fn trees() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-1_000_000..1_000_000_i32).prop_map(|n| (f64::from(n) / 64.0).into()),
        "[a-z\"\\\\é/~]{0,30}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 200, 70, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map("[a-z/~]{0,3}[a-z]{0,30}", inner, 0..70)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn trees_read_and_print_as_those_of_serde_json(tree in trees()) {
        // A float may lose its last digit when it is read.
        let tree: serde_json::Value = serde_json::from_str(&tree.to_string()).expect("reads");
        let text = tree.to_string();
        let ours: Value = serde_json::from_str(&text).expect("reads");
        prop_assert_eq!(ours.to_string(), text);
        prop_assert_eq!(format!("{ours:#}"), format!("{tree:#}"));
        prop_assert_eq!(&ours, &Value::from(tree.clone()));
        prop_assert_eq!(format!("{ours:?}"), format!("{tree:?}"));
        prop_assert_eq!(serde_json::Value::from(ours), tree);
    }

    #[test]
    fn maps_change_as_those_of_serde_json(
        changes in prop::collection::vec((0..4_u8, 0..90_u8), 0..300)
    ) {
        let mut ours = Map::new();
        let mut theirs = serde_json::Map::new();
        for (n, (change, key)) in changes.into_iter().enumerate() {
            let key = format!("k{key}");
            match change {
                0 | 1 => {
                    let was = ours.insert(key.as_str().into(), n.into()).map(serde_json::Value::from);
                    prop_assert_eq!(was, theirs.insert(key, n.into()));
                }
                2 => {
                    let was = ours.remove(&key).map(serde_json::Value::from);
                    prop_assert_eq!(was, theirs.remove(&key));
                }
                _ => {
                    let ours = ours.entry(key.as_str().into()).and_modify(|v| *v = json!([]));
                    ours.or_insert(n.into());
                    let theirs = theirs.entry(key).and_modify(|v| *v = serde_json::json!([]));
                    theirs.or_insert(n.into());
                }
            }
            prop_assert_eq!(ours.len(), theirs.len());
        }
        let keys: Vec<&str> = ours.keys().map(Key::as_str).collect();
        prop_assert!(keys.is_sorted());
        for (key, value) in &theirs {
            prop_assert_eq!(&Value::from(value.clone()), &ours[key.as_str()]);
        }
        let even = |text: &str| text.ends_with(['0', '2', '4', '6', '8']);
        ours.retain(|key, _| even(key));
        theirs.retain(|key, _| even(key));
        prop_assert_eq!(serde_json::Value::from(Value::Object(ours)), serde_json::Value::Object(theirs));
    }

    #[test]
    fn pointers_find_what_those_of_serde_json_find(
        tree in trees(), pointer in "(/(~0|~1|[a-z]{0,2}|0?[0-9]|\\+1)){0,4}"
    ) {
        let ours = Value::from(tree.clone());
        let theirs = tree.pointer(&pointer).cloned().map(Value::from);
        prop_assert_eq!(ours.pointer(&pointer), theirs.as_ref());
    }
}

#[test]
fn repeated_names_mean_their_last_value() {
    let value: Value = serde_json::from_str(r#"{"b":1,"a":2,"b":3}"#).expect("reads");
    assert_eq!(value, json!({"a": 2, "b": 3}));
}

#[test]
fn what_is_not_there_is_null() {
    let mut value = json!({"a": [1, {"b": true}]});
    assert_eq!(value["a"][1]["b"], true);
    assert_eq!(value["a"][2]["c"], Value::Null);
    value["d"]["e"] = json!("f");
    assert_eq!(value["d"], json!({"e": "f"}));
}

/// One of everything that serde knows.
#[derive(serde::Serialize)]
struct Everything {
    unit: (),
    flag: bool,
    small: i8,
    large: u64,
    wide: u128,
    float: f32,
    letter: char,
    text: String,
    none: Option<u8>,
    some: Option<&'static str>,
    pair: (u8, String),
    list: Vec<Variants>,
    by_number: std::collections::BTreeMap<u8, Variants>,
    by_flag: std::collections::BTreeMap<bool, Newtype>,
    #[serde(flatten)]
    more: std::collections::HashMap<String, serde_json::Value>,
    tree: Value,
}

#[derive(serde::Serialize)]
struct Newtype(&'static str);

#[derive(serde::Serialize)]
enum Variants {
    Unit,
    One(i64),
    Two(f64, Vec<u8>),
    Named { first: u8, second: Option<Newtype> },
}

proptest! {
    #[test]
    fn what_is_serializable_becomes_the_tree_that_serde_json_makes(
        tree in trees(), more in prop::collection::hash_map("x[a-z]{0,30}", trees(), 0..4),
        number in any::<i64>(), float in any::<f64>(), letter in any::<char>()
    ) {
        let variants = || vec![
            Variants::Unit,
            Variants::One(number),
            Variants::Two(float, vec![1, 2]),
            Variants::Named { first: 7, second: Some(Newtype("inside")) },
        ];
        let everything = Everything {
            unit: (),
            flag: true,
            small: -3,
            large: u64::MAX,
            wide: 12,
            float: 0.5,
            letter,
            text: letter.to_string(),
            none: None,
            some: Some("some"),
            pair: (1, "one".into()),
            list: variants(),
            by_number: (9..).zip(variants()).collect(),
            by_flag: [(true, Newtype("yes")), (false, Newtype("no"))].into(),
            more,
            tree: tree.into(),
        };
        let theirs = serde_json::to_value(&everything).expect("serializable");
        prop_assert_eq!(to_value(&everything).expect("serializable"), Value::from(theirs));
    }
}

#[test]
fn what_has_no_tree_is_refused() {
    assert!(to_value(std::collections::BTreeMap::from([((1, 2), 3)])).is_err());
    assert!(to_value(u128::MAX).is_err());
}

#[test]
fn json_takes_what_that_of_serde_json_takes() {
    const NAME: &str = "constant";
    let (key, text) = ("key", "text".to_string());
    macro_rules! compare {
        ($($tokens:tt)+) => {
            let theirs = serde_json::json!($($tokens)+);
            assert_eq!(json!($($tokens)+), Value::from(theirs));
        };
    }
    compare!(null);
    compare!([]);
    compare!({});
    compare!(-1.5);
    compare!(text);
    compare!([null, true, [1, [2], {}], {"a": null}, text.len() + 1]);
    compare!([null,]);
    compare!({
        "b": {"deep": [{"deeper": {}}, null]},
        "a": null,
        "again": 1,
        "again": Some(2),
        NAME: [],
        key: text.repeat(2),
        (format!("{text}-{}", 1)): if text.is_empty() { "e" } else { "f" },
        "last": &text,
    });
    // What it does not.
    let both = json!({"a": ["a", "b"].concat(), "b": [["a", "b"].concat(), {}]});
    assert_eq!(both, json!({"a": "ab", "b": ["ab", {}]}));
}
