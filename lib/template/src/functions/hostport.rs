//! Addresses `host:port` and URLs, as far as templates take them apart.

use std::net::IpAddr;

/// Splits `host:port` the way Go's `net.SplitHostPort` does: IPv6 only in brackets, the port may be empty.
fn split(address: &str) -> Option<(&str, &str)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, after.strip_prefix(':')?)
        }
        None => {
            let (host, port) = address.rsplit_once(':')?;
            if host.contains(':') {
                return None;
            }
            (host, port)
        }
    };
    let has_brackets = |part: &str| part.contains(['[', ']']);
    (!has_brackets(host) && !has_brackets(port) && !port.contains(':')).then_some((host, port))
}

/// The host of `host:port`; anything else as it is.
pub(super) fn strip_port(address: &str) -> String {
    split(address).map_or(address, |(host, _)| host).to_owned()
}

/// The first label of a host name, its port kept; addresses as they are.
pub(super) fn strip_domain(address: &str) -> String {
    let (host, port) = split(address).unwrap_or((address, ""));
    if host.parse::<IpAddr>().is_ok() {
        return address.to_owned();
    }
    let name = host.split('.').next().unwrap_or("");
    match (port.is_empty(), name.contains(':')) {
        (true, _) => name.to_owned(),
        (false, true) => format!("[{name}]:{port}"),
        (false, false) => format!("{name}:{port}"),
    }
}

/// The path of a URL, percent escapes resolved; empty when it has none.
pub(super) fn url_path(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or("");
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    percent_decode(path)
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], code) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_domains() {
        for (address, port_stripped, domain_stripped) in [
            ("localhost:9100", "localhost", "localhost:9100"),
            ("a.b.c:80", "a.b.c", "a:80"),
            ("a.b.c", "a.b.c", "a"),
            ("[::1]:80", "::1", "[::1]:80"),
            ("::1", "::1", "::1"),
            ("1.2.3.4:80", "1.2.3.4", "1.2.3.4:80"),
            ("", "", ""),
        ] {
            assert_eq!(strip_port(address), port_stripped, "{address}");
            assert_eq!(strip_domain(address), domain_stripped, "{address}");
        }
    }

    #[test]
    fn paths_of_urls() {
        assert_eq!(url_path("http://h:9090/path/a%20b?x=/y"), "/path/a b");
        assert_eq!(url_path("http://h:9090"), "");
    }
}
