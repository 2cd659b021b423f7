//! URLs, IP addresses and networks.

use std::net::IpAddr;
use std::sync::Arc;

use super::super::eval::{EvalError, Outcome};
use super::super::value::Val;

/// A parsed URL.
#[derive(Debug, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl Url {
    /// An absolute URL or an absolute path, as upstream takes it.
    fn parse(text: &str) -> Option<Self> {
        if text.contains(|c: char| c.is_ascii_control()) {
            return None;
        }
        let (text, _fragment) = text.split_once('#').unwrap_or((text, ""));
        let (text, query) = text.split_once('?').unwrap_or((text, ""));
        if text.starts_with('/') && !text.starts_with("//") {
            return valid_escapes(text).then(|| Url {
                scheme: String::new(),
                host: String::new(),
                path: text.to_string(),
                query: query.to_string(),
            });
        }
        let (scheme, rest) = text.split_once(':')?;
        let starts = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
        let is_scheme = scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if !starts || !is_scheme {
            return None;
        }
        let (host, path) = match rest.strip_prefix("//") {
            None => ("", rest),
            Some(rest) => match rest.find('/') {
                Some(at) => rest.split_at(at),
                None => (rest, ""),
            },
        };
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let host_is_valid = !host.contains([' ', '<', '>', '"', '\\', '^', '`', '{', '|', '}'])
            && host_port(host).1.bytes().all(|b| b.is_ascii_digit());
        (host_is_valid && valid_escapes(path)).then(|| Url {
            scheme: scheme.to_ascii_lowercase(),
            host: host.to_string(),
            path: path.to_string(),
            query: query.to_string(),
        })
    }

    fn query_map<'a>(&self) -> Val<'a> {
        let mut entries: Vec<(String, Vec<Val<'a>>)> = Vec::new();
        for (key, value) in form_urlencoded::parse(self.query.as_bytes()) {
            let value = Val::text(value.into_owned());
            match entries.iter_mut().find(|(k, _)| *k == key) {
                Some((_, values)) => values.push(value),
                None => entries.push((key.into_owned(), vec![value])),
            }
        }
        let entries = entries
            .into_iter()
            .map(|(k, v)| (Val::text(k), Val::List(Arc::new(v))));
        Val::Map(Arc::new(entries.collect()))
    }
}

/// Every `%` is followed by two hexadecimal digits.
fn valid_escapes(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, b)| {
        *b != b'%'
            || bytes
                .get(at + 1..at + 3)
                .is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Host without brackets, and port.
fn host_port(host: &str) -> (&str, &str) {
    if let Some(rest) = host.strip_prefix('[')
        && let Some((address, port)) = rest.split_once(']')
    {
        return (address, port.strip_prefix(':').unwrap_or(""));
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, port),
        _ => (host, ""),
    }
}

fn parse_ip(text: &str) -> Result<IpAddr, EvalError> {
    let fail = |why: &str| {
        Err(EvalError::failed(format!(
            "IP Address {} parse error during conversion from string: {why}",
            crate::api::field::go_quote(text)
        )))
    };
    let quoted = crate::api::field::go_quote(text);
    let Ok(ip) = text.parse::<IpAddr>() else {
        return fail(&format!("ParseAddr({quoted}): unable to parse IP"));
    };
    match ip {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            fail("IPv4-mapped IPv6 address is not allowed")
        }
        ip => Ok(ip),
    }
}

fn parse_cidr(text: &str) -> Result<(IpAddr, u8), EvalError> {
    let quoted = crate::api::field::go_quote(text);
    let fail = |why: &str| {
        EvalError::failed(format!(
            "network address parse error during conversion from string: netip.ParsePrefix({quoted}): {why}"
        ))
    };
    let (ip, length) = text.split_once('/').ok_or_else(|| fail("no '/'"))?;
    let address: IpAddr = ip
        .parse()
        .map_err(|_| fail(&format!("ParseAddr(\"{ip}\"): unable to parse IP")))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let is_canonical = length == "0" || !length.starts_with('0');
    match length.parse::<u8>() {
        Ok(n) if n <= most && is_canonical && !length.starts_with('+') => Ok((address, n)),
        _ => Err(fail("prefix length out of range")),
    }
}

fn network(ip: IpAddr, length: u8) -> Option<ipnet::IpNet> {
    ipnet::IpNet::new(ip, length).ok().map(|net| net.trunc())
}

/// Calls a function of URLs and addresses; `None` when it is none.
pub(super) fn call<'a>(name: &str, arguments: &[Val<'a>]) -> Option<Outcome<'a>> {
    match arguments {
        [Val::Str(text)] => of_text(name, text.as_str()),
        [Val::Url(url)] => of_url(name, url),
        [Val::Ip(ip)] => of_ip(name, *ip),
        [Val::Cidr(ip, length), rest @ ..] => of_cidr(name, *ip, *length, rest),
        _ => None,
    }
}

fn of_text<'a>(name: &str, text: &str) -> Option<Outcome<'a>> {
    Some(match name {
        "url" => match Url::parse(text) {
            Some(url) => Ok(Val::Url(Arc::new(url))),
            None => Err(EvalError::failed(format!(
                "URL parse error during conversion from string: parse {}: invalid URI for request",
                crate::api::field::go_quote(text)
            ))),
        },
        "isURL" => Ok(Val::Bool(Url::parse(text).is_some())),
        "ip" => parse_ip(text).map(Val::Ip),
        "isIP" => Ok(Val::Bool(parse_ip(text).is_ok())),
        "ip.isCanonical" => parse_ip(text).map(|ip| Val::Bool(ip.to_string() == text)),
        "cidr" => parse_cidr(text).map(|(ip, length)| Val::Cidr(ip, length)),
        "isCIDR" => Ok(Val::Bool(parse_cidr(text).is_ok())),
        _ => return None,
    })
}

fn of_url<'a>(name: &str, url: &Url) -> Option<Outcome<'a>> {
    Some(Ok(match name {
        "getScheme" => Val::text(url.scheme.as_str()),
        "getHost" => Val::text(url.host.as_str()),
        "getHostname" => Val::text(host_port(&url.host).0),
        "getPort" => Val::text(host_port(&url.host).1),
        "getEscapedPath" => Val::text(url.path.as_str()),
        "getQuery" => url.query_map(),
        _ => return None,
    }))
}

fn of_ip<'a>(name: &str, ip: IpAddr) -> Option<Outcome<'a>> {
    let is_link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    };
    let is_link_local_multicast = match ip {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    };
    let is_broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    Some(Ok(match name {
        "family" => Val::Int(if ip.is_ipv4() { 4 } else { 6 }),
        "isUnspecified" => Val::Bool(ip.is_unspecified()),
        "isLoopback" => Val::Bool(ip.is_loopback()),
        "isLinkLocalMulticast" => Val::Bool(is_link_local_multicast),
        "isLinkLocalUnicast" => Val::Bool(is_link_local),
        "isGlobalUnicast" => Val::Bool(
            !ip.is_unspecified()
                && !ip.is_loopback()
                && !ip.is_multicast()
                && !is_link_local
                && !is_broadcast,
        ),
        _ => return None,
    }))
}

fn of_cidr<'a>(name: &str, ip: IpAddr, length: u8, rest: &[Val<'a>]) -> Option<Outcome<'a>> {
    let net = network(ip, length)?;
    Some(match (name, rest) {
        ("ip", []) => Ok(Val::Ip(ip)),
        ("prefixLength", []) => Ok(Val::Int(i64::from(length))),
        ("masked", []) => Ok(Val::Cidr(net.addr(), length)),
        ("containsIP", [Val::Ip(other)]) => Ok(Val::Bool(net.contains(other))),
        ("containsIP", [Val::Str(text)]) => {
            parse_ip(text.as_str()).map(|other| Val::Bool(net.contains(&other)))
        }
        ("containsCIDR", [Val::Cidr(other, n)]) => contains_net(net, *other, *n),
        ("containsCIDR", [Val::Str(text)]) => {
            parse_cidr(text.as_str()).and_then(|(other, n)| contains_net(net, other, n))
        }
        _ => return None,
    })
}

fn contains_net<'a>(net: ipnet::IpNet, ip: IpAddr, length: u8) -> Outcome<'a> {
    let inner = network(ip, length);
    Ok(Val::Bool(inner.is_some_and(|inner| net.contains(&inner))))
}
