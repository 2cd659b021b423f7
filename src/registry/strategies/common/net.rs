//! IP addresses and CIDRs as Kubernetes reads them (contract/validation.md §A3).
//!
//! Legacy fields read leading zeros and IPv4-mapped addresses, then reject them; strict fields also
//! demand the canonical form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::api::field::{FieldErrors, Path};

/// An address read leniently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LenientIp {
    /// The address.
    pub addr: IpAddr,
    /// An IPv4 octet had leading zeros.
    pub leading_zeros: bool,
}

impl LenientIp {
    /// Whether it is an IPv4 address written as `::ffff:a.b.c.d`.
    pub fn is_mapped(&self) -> bool {
        matches!(self.addr, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
    }
}

/// Reads an address, allowing leading zeros in IPv4 octets.
pub fn parse_ip(text: &str) -> Option<LenientIp> {
    if let Ok(addr) = text.parse::<IpAddr>() {
        return Some(LenientIp {
            addr,
            leading_zeros: false,
        });
    }
    let addr = match text.rsplit_once(':') {
        Some((head, v4)) if v4.contains('.') => {
            let v6: Ipv6Addr = format!("{head}:{}", parse_v4_zeros(v4)?).parse().ok()?;
            IpAddr::V6(v6)
        }
        _ => IpAddr::V4(parse_v4_zeros(text)?),
    };
    Some(LenientIp {
        addr,
        leading_zeros: true,
    })
}

fn parse_v4_zeros(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        *octet = part.parse().ok().filter(|_| digits)?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

/// A CIDR read leniently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LenientCidr {
    /// The address before the slash.
    pub ip: LenientIp,
    /// The prefix length.
    pub prefix: u8,
    /// The prefix length had leading zeros.
    pub prefix_zeros: bool,
}

impl LenientCidr {
    /// The address with all bits beyond the prefix cleared.
    pub fn network(&self) -> IpAddr {
        match self.ip.addr {
            IpAddr::V4(v4) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
            }
        }
    }
}

/// Reads `address/prefix`.
pub fn parse_cidr(text: &str) -> Option<LenientCidr> {
    let (ip, prefix) = text.split_once('/')?;
    let ip = parse_ip(ip)?;
    let max = if ip.addr.is_ipv4() { 32 } else { 128 };
    let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
    let bits: u8 = prefix.parse().ok().filter(|n| digits && *n <= max)?;
    Some(LenientCidr {
        ip,
        prefix: bits,
        prefix_zeros: prefix.len() > 1 && prefix.starts_with('0'),
    })
}

/// Checks an address of a legacy field; addresses in `stored` are tolerated.
pub fn validate_ip(path: &Path<'_>, text: &str, stored: &[&str], errors: &mut FieldErrors) {
    if stored.contains(&text) {
        return;
    }
    let Some(ip) = parse_ip(text) else {
        return errors.invalid_str(
            path,
            text,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        );
    };
    if ip.leading_zeros {
        errors.invalid_str(path, text, "must not have leading 0s");
    }
    if ip.is_mapped() {
        errors.invalid_str(path, text, "must not be an IPv4-mapped IPv6 address");
    }
}

/// Checks an address that must also be in canonical form.
pub fn validate_ip_strict(path: &Path<'_>, text: &str, errors: &mut FieldErrors) {
    let before = errors.0.len();
    validate_ip(path, text, &[], errors);
    if errors.0.len() > before {
        return;
    }
    if let Some(ip) = parse_ip(text).map(|ip| ip.addr.to_string())
        && ip != text
    {
        errors.invalid_str(path, text, format!("must be in canonical form (\"{ip}\")"));
    }
}

/// Checks a CIDR of a legacy field; values in `stored` are tolerated.
pub fn validate_cidr(path: &Path<'_>, text: &str, stored: &[&str], errors: &mut FieldErrors) {
    if stored.contains(&text) {
        return;
    }
    let Some(cidr) = parse_cidr(text) else {
        return errors.invalid_str(
            path,
            text,
            "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        );
    };
    if cidr.ip.leading_zeros || cidr.prefix_zeros {
        errors.invalid_str(
            path,
            text,
            "must not have leading 0s in IP or prefix length",
        );
    }
    if cidr.ip.is_mapped() {
        errors.invalid_str(path, text, "must not have an IPv4-mapped IPv6 address");
    }
    if cidr.network() != cidr.ip.addr {
        errors.invalid_str(
            path,
            text,
            "must not have bits set beyond the prefix length",
        );
    }
}

/// Checks a CIDR that must also be in canonical form.
pub fn validate_cidr_strict(path: &Path<'_>, text: &str, errors: &mut FieldErrors) {
    let before = errors.0.len();
    validate_cidr(path, text, &[], errors);
    if errors.0.len() > before {
        return;
    }
    if let Some(cidr) = parse_cidr(text).map(|c| format!("{}/{}", c.ip.addr, c.prefix))
        && cidr != text
    {
        errors.invalid_str(
            path,
            text,
            format!("must be in canonical form (\"{cidr}\")"),
        );
    }
}

/// The warning for an address that is readable but not written canonically.
pub fn warn_ip(path: &Path<'_>, text: &str, warnings: &mut Vec<String>) {
    let Some(ip) = parse_ip(text) else { return };
    let canonical = match ip.addr {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip.addr, IpAddr::V4).to_string(),
        IpAddr::V4(_) => ip.addr.to_string(),
    };
    if ip.leading_zeros || ip.is_mapped() {
        warnings.push(format!(
            "{path}: non-standard IP address \"{text}\" is invalid: use \"{canonical}\""
        ));
    } else if ip.addr.is_ipv6() && canonical != text {
        warnings.push(format!(
            "{path}: IPv6 address \"{text}\" should be in RFC 5952 canonical format (\"{canonical}\")"
        ));
    }
}

/// The warning for a CIDR that is readable but ambiguous or not written canonically.
pub fn warn_cidr(path: &Path<'_>, text: &str, warnings: &mut Vec<String>) {
    let Some(cidr) = parse_cidr(text) else { return };
    let plain = match cidr.ip.addr {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(cidr.ip.addr, IpAddr::V4),
        v4 => v4,
    };
    if cidr.network() != cidr.ip.addr {
        let network = cidr.network();
        let host = if plain.is_ipv4() { 32 } else { 128 };
        warnings.push(format!(
            "{path}: CIDR value \"{text}\" is ambiguous in this context (should be \"{network}/{}\" or \"{plain}/{host}\"?)",
            cidr.prefix
        ));
    } else if cidr.ip.leading_zeros || cidr.prefix_zeros || cidr.ip.is_mapped() {
        let prefix = if cidr.ip.is_mapped() {
            cidr.prefix.saturating_sub(96)
        } else {
            cidr.prefix
        };
        warnings.push(format!(
            "{path}: non-standard CIDR value \"{text}\" is invalid: use \"{plain}/{prefix}\""
        ));
    } else if plain.is_ipv6() && format!("{plain}/{}", cidr.prefix) != text {
        warnings.push(format!(
            "{path}: IPv6 CIDR value \"{text}\" should be in RFC 5952 canonical format (\"{plain}/{}\")",
            cidr.prefix
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let cases: [(&str, &[&str]); 5] = [
            ("10.0.0.1", &[]),
            ("2001:db8::1", &[]),
            ("010.0.0.1", &["must not have leading 0s"]),
            (
                "::ffff:1.2.3.4",
                &["must not be an IPv4-mapped IPv6 address"],
            ),
            (
                "x",
                &["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"],
            ),
        ];
        for (text, want) in cases {
            let mut errors = FieldErrors::default();
            validate_ip(&Path::ROOT, text, &[], &mut errors);
            let got: Vec<&str> = errors.0.iter().map(|e| e.detail.as_str()).collect();
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn cidrs() {
        let cases: [(&str, &[&str]); 4] = [
            ("10.0.0.0/8", &[]),
            ("::/0", &[]),
            (
                "10.0.0.1/8",
                &["must not have bits set beyond the prefix length"],
            ),
            (
                "10.0.0.0/08",
                &["must not have leading 0s in IP or prefix length"],
            ),
        ];
        for (text, want) in cases {
            let mut errors = FieldErrors::default();
            validate_cidr(&Path::ROOT, text, &[], &mut errors);
            let got: Vec<&str> = errors.0.iter().map(|e| e.detail.as_str()).collect();
            assert_eq!(got, want, "{text}");
        }
    }
}
