//! Expressions and what they are worth.

use expect_test::{Expect, expect};

use super::functions::print;
use super::*;
use crate::base::tree::{Value, json};

fn env() -> Env {
    let request = Type::object(
        "kubernetes.AdmissionRequest",
        vec![("operation", Type::String), ("dryRun", Type::Bool)],
    );
    let authorizer = Type::Opaque("kubernetes.authorization.Authorizer");
    let check = Type::Opaque("kubernetes.authorization.ResourceCheck");
    Env::new()
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with("request", request)
        .with("authorizer", authorizer)
        .with("authorizer.requestResource", check)
}

fn object() -> Value {
    json!({
        "metadata": {"name": "web-1", "labels": {"app": "web", "a.b/c": "x"}},
        "spec": {"replicas": 3, "ratio": 0.5, "containers": [
            {"name": "a", "image": "nginx:1.25"}, {"name": "b", "image": "busybox"}]},
        "data": {"cpu": "500m", "url": "https://example.com:8443/p?x=1&x=2", "ip": "10.0.0.7", "none": null}
    })
}

fn run(source: &str) -> String {
    run_with(source, &Decisions::default(), PER_CALL_LIMIT)
}

fn run_with(source: &str, decisions: &Decisions, steps: u64) -> String {
    let program = match compile(source, &env()) {
        Ok(program) => program,
        Err(error) => return format!("compile: {error}"),
    };
    let (object, request) = (object(), json!({"operation": "CREATE", "dryRun": false}));
    let resource = Query {
        resource: "pods".into(),
        ..Query::default()
    };
    let bindings = [
        Val::json(&object),
        Val::Null,
        Val::json(&request),
        Val::authorizer(),
        Val::request_resource(resource),
    ];
    let mut budget = Budget::new(steps);
    match program.evaluate(&bindings, decisions, &mut budget) {
        Ok(value) => format!(
            "{}: {}",
            program.output,
            print(&value).unwrap_or_else(|| format!("<{}>", value.type_name()))
        ),
        Err(error) => format!("error: {error}"),
    }
}

fn check(source: &str, expect: Expect) {
    expect.assert_eq(&run(source));
}

#[test]
fn true_expressions() {
    let mut wrong = Vec::new();
    for source in [
        // What match conditions and policies commonly say.
        "object.metadata.name.startsWith('web')",
        "has(object.metadata.labels) && object.metadata.labels['a.b/c'] == 'x'",
        "!has(object.metadata.annotations)",
        "oldObject == null",
        "request.operation in ['CREATE', 'UPDATE'] && !request.dryRun",
        "object.spec.replicas + 1 == 4 && object.spec.replicas <= 3.5 && object.spec.replicas == 3u",
        "object.spec.containers.all(c, c.image.contains(':') || c.name == 'b')",
        "object.spec.containers.exists(c, c.image.endsWith(':1.25'))",
        "object.spec.containers.exists_one(c, c.name == 'a')",
        "object.spec.containers.map(c, c.name) == ['a', 'b']",
        "object.spec.containers.filter(c, c.name != 'a').size() == 1",
        "object.spec.containers.map(c, c.name == 'b', c.image)[0] == 'busybox'",
        "object.metadata.labels.all(k, k.size() > 1)",
        "'app' in object.metadata.labels && !('x' in object.metadata.labels)",
        "object.data.none == null",
        // Errors on one side do not matter when the other decides.
        "object.nope.x == 1 || true",
        "!(object.nope.x == 1 && false)",
        "[1, 2].exists(i, i == 2 || object.nope)",
        "(object.spec.replicas > 1 ? true : object.nope) == true",
        // Optionals.
        "object.?spec.?nope.orValue('d') == 'd'",
        "object.?metadata.?name.hasValue()",
        "object.metadata[?'name'].optMap(n, n + '!').value() == 'web-1!'",
        "{?'a': optional.none(), 'b': 1} == {'b': 1} && [?optional.of(1), ?optional.none()] == [1]",
        // Two variables.
        "[1, 2].all(i, v, v == i + 1)",
        "{'a': 1}.exists(k, v, k == 'a' && v == 1)",
        "[3, 4].transformList(i, v, v * 2) == [6, 8]",
        "{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v + 1) == {'b': 3}",
        // Strings.
        "'a,b,c'.split(',') == ['a', 'b', 'c'] && ['a', 'b'].join('-') == 'a-b'",
        "'hello'.substring(1, 3) == 'el' && 'hello'.charAt(1) == 'e' && 'hello'.indexOf('l') == 2",
        "'%s is %d, %.2f, %x'.format(['a', 5, 1.5, 255]) == 'a is 5, 1.50, ff'",
        "'Ab'.lowerAscii() == 'ab' && ' x '.trim() == 'x' && 'aXa'.replace('a', 'b') == 'bXb'",
        "'abc 123'.find('[0-9]+') == '123' && '1 2'.findAll('[0-9]') == ['1', '2']",
        "'abc'.matches('^[a-z]+$') && strings.quote('a') == '\"a\"'",
        r"'a1_'.matches(r'^\w+$') && !'é'.matches(r'^\w$') && !'٣'.matches(r'^\d$') && 'a b'.matches(r'a\sb')",
        r"'x]['.matches(r'^x[][]+$') && 'a&b'.matches('^[a&&b]+$') && 'ab1'.matches('^[[:alpha:]]+1$')",
        r"'a.b'.matches(r'^[\w.]+$') && 'one two'.find(r'\btwo\b') == 'two'",
        // Lists and sets.
        "[1, 2, 3].sum() == 6 && [3, 1].min() == 1 && ['a', 'b'].max() == 'b' && [1, 2].isSorted()",
        "[3, 1, 2].sort() == [1, 2, 3] && [1, 1].distinct() == [1] && [[1], [2]].flatten() == [1, 2]",
        "lists.range(3) == [0, 1, 2] && [1, 2, 3].slice(1, 3) == [2, 3] && [1, 2].reverse() == [2, 1]",
        "['bb', 'a'].sortBy(s, s.size()) == ['a', 'bb']",
        "sets.contains([1, 2], [2]) && sets.equivalent([1, 1], [1]) && !sets.intersects([1], [2])",
        // Kubernetes' libraries.
        "quantity(object.data.cpu).isLessThan(quantity('1')) && quantity('1Ki').asInteger() == 1024",
        "quantity('1').add(quantity('500m')).compareTo(quantity('1500m')) == 0 && isQuantity('3')",
        "url(object.data.url).getHost() == 'example.com:8443' && url(object.data.url).getPort() == '8443'",
        "url(object.data.url).getQuery()['x'] == ['1', '2'] && !isURL('../x')",
        "ip(object.data.ip).family() == 4 && cidr('10.0.0.0/8').containsIP(object.data.ip)",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !isIP('::ffff:1.2.3.4')",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('v1.2', true).minor() == 2",
        "semver('1.0.0-rc.1').isLessThan(semver('1.0.0')) && !isSemver('1.0')",
        "!format.dns1123Label().validate('abc').hasValue() && format.named('uuid').hasValue()",
        "format.dns1123Label().validate('A_').hasValue()",
        // Types and conversions.
        "type(1) == int && type('a') == string && int('7') == 7 && string(1.5) == '1.5'",
        "timestamp('2024-01-02T03:04:05Z').getFullYear() == 2024 && duration('90s').getMinutes() == 1",
        "timestamp('2024-01-01T00:00:00Z') + duration('24h') == timestamp('2024-01-02T00:00:00Z')",
        "b'abc'.size() == 3 && 7 / 2 == 3 && -7 % 3 == -1 && 1.0 / 4.0 == 0.25",
    ] {
        let got = run(source);
        if got != "bool: true" {
            wrong.push(format!("{source}\n  {got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn errors_as_cel_go_has_them() {
    check(
        "object.data.nope == 'x'",
        expect!["error: no such key: nope"],
    );
    check(
        "object.spec.containers[5].name == ''",
        expect!["error: index out of bounds: 5"],
    );
    check(
        "1 / (object.spec.replicas - 3) == 1",
        expect!["error: division by zero"],
    );
    check(
        "object.metadata.name > 1",
        expect!["error: no such overload"],
    );
    check(
        "int(object.metadata.name)",
        expect!["error: type conversion error from 'string' to 'int'"],
    );
    check(
        "ip.isCanonical('zz')",
        expect![[
            r#"error: IP Address "zz" parse error during conversion from string: ParseAddr("zz"): unable to parse IP"#
        ]],
    );
    check(
        "9223372036854775807 + 1",
        expect!["error: return error for overflow"],
    );
}

#[test]
fn what_does_not_compile() {
    check("object.x", expect!["error: no such key: x"]);
    assert_eq!(
        compile("object.x", &env()).expect("compiles").output,
        Type::Dyn
    );
    check(
        "1 +",
        expect![[r#"
            compile: ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
             | 1 +
             | ...^"#]],
    );
    check(
        "'a'.nope()",
        expect![[r#"
            compile: ERROR: <input>:1:9: undeclared reference to 'nope' (in container '')
             | 'a'.nope()
             | ........^"#]],
    );
    check(
        "params.x == 1",
        expect![[r#"
            compile: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')
             | params.x == 1
             | ^"#]],
    );
    check(
        "1 + 'a'",
        expect![[r#"
            compile: ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'
             | 1 + 'a'
             | ..^"#]],
    );
    check(
        "request.nope == ''",
        expect![[r#"
            compile: ERROR: <input>:1:8: undefined field 'nope'
             | request.nope == ''
             | .......^"#]],
    );
}

#[test]
fn objects_and_patches() {
    let made = |source: &str, env: &Env| -> String {
        let program = match compile(source, env) {
            Ok(program) => program,
            Err(error) => return error.to_string(),
        };
        let object = object();
        let bindings = [
            Val::json(&object),
            Val::Null,
            Val::Null,
            Val::Null,
            Val::Null,
        ];
        let decisions = Decisions::default();
        let mut budget = Budget::new(PER_CALL_LIMIT);
        let value = program.evaluate(&bindings, &decisions, &mut budget);
        let value = value.expect("evaluates");
        let misplaced = match &value {
            Val::Object(object) => object.misplaced().join(", "),
            _ => String::new(),
        };
        let json = value.to_json().expect("is JSON");
        format!("{}: {json} {misplaced}", program.output)
    };
    let env = env().with_patches();
    let check = |source: &str, expect: Expect| expect.assert_eq(&made(source, &env));
    check(
        "Object{spec: Object.spec{replicas: object.spec.replicas + 1, list: [Object.spec.list{a: 1}], ?none: optional.none()}}",
        expect![[r#"Object: {"spec":{"list":[{"a":1}],"replicas":4}} "#]],
    );
    check(
        "Object{spec: Object.wrong{}}",
        expect![[
            r#"Object: {"spec":{}} unexpected type name "Object.wrong", expected "Object.spec", which matches field name path from root Object type"#
        ]],
    );
    check(
        "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('x/y~z'), value: 1}]",
        expect![[
            r#"list(JSONPatch): [{"op":"add","path":"/metadata/labels/x~1y~0z","value":1}] "#
        ]],
    );
    check(
        "JSONPatch{op: 1, nope: 2}",
        expect![[r#"
            ERROR: <input>:1:13: expected type of field 'op' is 'string' but provided type is 'int'
             | JSONPatch{op: 1, nope: 2}
             | ............^
            ERROR: <input>:1:22: undefined field 'nope'
             | JSONPatch{op: 1, nope: 2}
             | .....................^"#]],
    );
    for source in ["Object{}", "jsonpatch.escapeKey('a')"] {
        let error = made(source, &self::env());
        assert!(error.contains("undeclared reference to"), "{error}");
    }
}

#[test]
fn depth_is_refused_before_it_hurts() {
    let env = env();
    for source in [
        format!("object{} == 1", ".a".repeat(1_000)),
        format!("object{} == 1", ".a".repeat(40_000)),
        format!("1{} == 1", " + 1".repeat(1_000)),
        format!("{}true", "!true || ".repeat(300)),
        format!("{}1{} == 1", "(".repeat(1_000), ")".repeat(1_000)),
        format!("{}1{} == []", "[".repeat(1_000), "]".repeat(1_000)),
        format!("'{}' == ''", "a".repeat(100_000)),
    ] {
        let start: String = source.chars().take(20).collect();
        // A chain of `||` is balanced by the parser and stays shallow.
        assert_eq!(
            compile(&source, &env).is_ok(),
            start.starts_with("!true"),
            "{start}"
        );
    }
}

#[test]
fn the_budget_ends_what_does_not_end() {
    let nested =
        "lists.range(1000).all(a, lists.range(1000).all(b, lists.range(1000).all(c, true)))";
    check(
        nested,
        expect!["error: operation cancelled: actual cost limit exceeded"],
    );
}

#[test]
fn the_authorizer_is_asked_between_evaluations() {
    let source = "authorizer.group('apps').resource('deployments').namespace('n').check('get').allowed() \
                  && authorizer.requestResource.check('list').reason() == 'because'";
    let mut decisions = Decisions::default();
    for _ in 0..2 {
        let (object, request) = (object(), json!({}));
        let program = compile(source, &env()).expect("compiles");
        let resource = Query {
            resource: "pods".into(),
            ..Query::default()
        };
        let bindings = [
            Val::json(&object),
            Val::Null,
            Val::json(&request),
            Val::authorizer(),
            Val::request_resource(resource),
        ];
        let mut budget = Budget::new(PER_CALL_LIMIT);
        let outcome = program.evaluate(&bindings, &decisions, &mut budget);
        let Err(EvalError::Undecided(query)) = outcome else {
            panic!("not decided yet");
        };
        let answer = Answer {
            allowed: true,
            reason: "because".into(),
            error: String::new(),
        };
        decisions.add(*query, answer);
    }
    assert_eq!(run_with(source, &decisions, PER_CALL_LIMIT), "bool: true");
}
