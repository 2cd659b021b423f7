//! Options of connect subresources, from the query: PodLogOptions, PodExecOptions, … (the rules of
//! conversion are upstream's for URL values: a flag without a value is set, only `false` and `0` are
//! not).

use super::Streams;
use crate::api::field::{FieldErrors, Path, go_quote};
use crate::api::names::GroupKind;
use crate::api::resource::Connect;
use crate::api::status::Status;
use crate::base::tree::{Map, Value, json};

/// A parsed query.
pub struct ConnectOptions {
    pairs: Vec<(String, String)>,
}

impl ConnectOptions {
    /// Parses the raw query.
    pub fn parse(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes());
        ConnectOptions {
            pairs: pairs.map(|(k, v)| (k.into(), v.into())).collect(),
        }
    }

    /// First value of a parameter; empty when there is none.
    pub fn text(&self, name: &str) -> &str {
        self.values(name).next().unwrap_or("")
    }

    /// All values of a parameter.
    pub fn values<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        let of_name = self.pairs.iter().filter(move |(k, _)| k == name);
        of_name.map(|(_, v)| v.as_str())
    }

    /// A flag.
    pub fn is_set(&self, name: &str) -> bool {
        let value = self.values(name).next();
        value.is_some_and(|v| v != "0" && !v.eq_ignore_ascii_case("false"))
    }

    /// A flag that is set unless the query says otherwise.
    fn is_set_or(&self, name: &str, default: bool) -> bool {
        match self.values(name).next() {
            Some(_) => self.is_set(name),
            None => default,
        }
    }

    /// A number.
    pub fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.values(name).next() else {
            return Ok(None);
        };
        let parsed = text.parse::<i64>();
        parsed.map(Some).map_err(|error| {
            let why = match error.kind() {
                std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                    "value out of range"
                }
                _ => "invalid syntax",
            };
            let quoted = go_quote(text);
            Status::bad_request(format!("strconv.ParseInt: parsing {quoted}: {why}"))
        })
    }

    /// The options object that admission sees.
    pub fn object(&self, to: Connect, path: &str) -> Value {
        let kind = match to {
            Connect::Log => "PodLogOptions",
            Connect::Exec => "PodExecOptions",
            Connect::Attach => "PodAttachOptions",
            Connect::PortForward => "PodPortForwardOptions",
            Connect::ProxyPod => "PodProxyOptions",
            Connect::ProxyService => "ServiceProxyOptions",
            Connect::ProxyNode => "NodeProxyOptions",
        };
        let mut object = Map::new();
        object.insert("kind".into(), json!(kind));
        object.insert("apiVersion".into(), json!("v1"));
        match to {
            Connect::Exec | Connect::Attach => self.add_streams(to, &mut object),
            Connect::PortForward => {
                let ports = self.values("ports").flat_map(|v| v.split(','));
                let ports: Vec<i64> = ports.filter_map(|p| p.parse().ok()).collect();
                if !ports.is_empty() {
                    object.insert("ports".into(), json!(ports));
                }
            }
            Connect::ProxyPod | Connect::ProxyService | Connect::ProxyNode if !path.is_empty() => {
                object.insert("path".into(), json!(path));
            }
            _ => {}
        }
        Value::Object(object)
    }

    fn add_streams(&self, to: Connect, object: &mut Map) {
        for name in ["stdin", "stdout", "stderr", "tty"] {
            if self.stream(to, name) {
                object.insert(name.into(), json!(true));
            }
        }
        if !self.text("container").is_empty() {
            object.insert("container".into(), json!(self.text("container")));
        }
        let command: Vec<&str> = self.values("command").collect();
        if to == Connect::Exec && !command.is_empty() {
            object.insert("command".into(), json!(command));
        }
    }

    /// Whether a stream is to be connected: output is unless it is refused.
    fn stream(&self, to: Connect, name: &str) -> bool {
        let default = to == Connect::Attach && matches!(name, "stdout" | "stderr");
        self.is_set_or(name, default)
    }

    /// The streams of exec and attach.
    pub fn streams(&self, to: Connect) -> Streams {
        Streams {
            stdin: self.stream(to, "stdin"),
            stdout: self.stream(to, "stdout"),
            stderr: self.stream(to, "stderr"),
            tty: self.stream(to, "tty"),
        }
    }

    /// The kubelet's query of exec and attach, its parameters in Go's order.
    pub fn stream_query(&self, to: Connect) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if to == Connect::Exec {
            for part in self.values("command") {
                query.append_pair("command", part);
            }
        }
        let names = [
            ("error", "stderr"),
            ("input", "stdin"),
            ("output", "stdout"),
            ("tty", "tty"),
        ];
        for (kubelets, ours) in names {
            if self.stream(to, ours) {
                query.append_pair(kubelets, "1");
            }
        }
        query.finish()
    }

    /// The kubelet's query of a port forward.
    pub fn ports_query(&self) -> String {
        let ports: Vec<&str> = self.values("ports").collect();
        if ports.is_empty() {
            return String::new();
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("port", &ports.join(","));
        query.finish()
    }

    /// The kubelet's query of a log.
    pub fn log_query(&self) -> Result<String, Status> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let flag = |query: &mut form_urlencoded::Serializer<'_, String>, name: &str| {
            if self.is_set(name) {
                query.append_pair(name, "true");
            }
        };
        let number = |query: &mut form_urlencoded::Serializer<'_, String>, name: &str| {
            if let Some(n) = self.number(name)? {
                query.append_pair(name, &n.to_string());
            }
            Ok::<(), Status>(())
        };
        flag(&mut query, "follow");
        number(&mut query, "limitBytes")?;
        flag(&mut query, "previous");
        number(&mut query, "sinceSeconds")?;
        if !self.text("sinceTime").is_empty() {
            query.append_pair("sinceTime", self.text("sinceTime"));
        }
        number(&mut query, "tailLines")?;
        flag(&mut query, "timestamps");
        Ok(query.finish())
    }

    /// Checks PodLogOptions.
    pub fn check_log(&self, name: &str) -> Result<(), Status> {
        let mut errors = FieldErrors::default();
        let field = |name: &'static str| Path::ROOT.field(name);
        if let Some(n) = self.number("tailLines")?.filter(|n| *n < 0) {
            let text = "must be greater than or equal to 0";
            errors.invalid(&field("tailLines"), &json!(n), text);
        }
        if let Some(n) = self.number("limitBytes")?.filter(|n| *n < 1) {
            errors.invalid(&field("limitBytes"), &json!(n), "must be greater than 0");
        }
        let since_seconds = self.number("sinceSeconds")?;
        match (since_seconds, !self.text("sinceTime").is_empty()) {
            (Some(_), true) => {
                let text = "at most one of `sinceTime` or `sinceSeconds` may be specified";
                errors.forbidden(&field("[]"), text);
            }
            (Some(n), false) if n < 1 => {
                errors.invalid(&field("sinceSeconds"), &json!(n), "must be greater than 0");
            }
            _ => {}
        }
        if self.values("stream").next().is_some() {
            errors.forbidden(&field("stream"), "may not be specified");
        }
        if errors.is_empty() {
            return Ok(());
        }
        let kind = GroupKind::new("", "PodLogOptions");
        Err(Status::invalid(&kind, name, &errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubelet_queries() {
        let options = ConnectOptions::parse(
            "container=c&command=sh&command=-c&command=echo+a%26b&stdin=true&stdout&stderr=false&tty=0",
        );
        assert_eq!(
            options.stream_query(Connect::Exec),
            "command=sh&command=-c&command=echo+a%26b&input=1&output=1"
        );
        let options = ConnectOptions::parse("");
        assert_eq!(options.stream_query(Connect::Attach), "error=1&output=1");
        let options = ConnectOptions::parse("ports=80&ports=443");
        assert_eq!(options.ports_query(), "port=80%2C443");
        let options =
            ConnectOptions::parse("tailLines=5&follow=true&previous=false&sinceSeconds=9");
        assert_eq!(
            options.log_query().expect("a query"),
            "follow=true&sinceSeconds=9&tailLines=5"
        );
    }

    #[test]
    fn numbers_must_be_numbers() {
        let options = ConnectOptions::parse("tailLines=x");
        let status = options.check_log("p").expect_err("no number");
        assert_eq!(
            status.message,
            "strconv.ParseInt: parsing \"x\": invalid syntax"
        );
    }

    #[test]
    fn admission_sees_options() {
        let options = ConnectOptions::parse("command=ls&stdout=1&container=c");
        let object = options.object(Connect::Exec, "");
        assert_eq!(
            object,
            json!({"kind": "PodExecOptions", "apiVersion": "v1", "stdout": true,
                   "container": "c", "command": ["ls"]})
        );
    }

    proptest::proptest! {
        #[test]
        fn no_query_panics(query in "((command|stdin|tailLines|sinceTime|ports|[a-z%]{0,4})(=[0-9a-z%+,-]{0,22})?&?){0,6}") {
            let options = ConnectOptions::parse(&query);
            let _ = options.check_log("p");
            let _ = options.log_query();
            for to in [Connect::Exec, Connect::Attach, Connect::PortForward, Connect::Log] {
                let _ = options.object(to, "/x");
                let _ = options.stream_query(to);
            }
        }
    }
}
