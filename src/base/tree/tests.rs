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
