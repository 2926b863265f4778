//! The URLs in flags: addresses to listen at, to advertise and to dial.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, bail};

/// Splits a list of URLs.
pub fn urls(text: &str) -> Vec<String> {
    text.split(',').map(|url| url.trim().to_owned()).filter(|url| !url.is_empty()).collect()
}

/// The addresses to listen at, and whether with TLS.
///
/// # Errors
/// If one is no address of this machine: a name is not enough to listen at.
pub fn listen_addresses(flag: &str, text: &str) -> anyhow::Result<Vec<(SocketAddr, bool)>> {
    let address = |url: &String| {
        let host = host_and_port(url)?.replace("localhost:", "127.0.0.1:");
        let address = host.parse();
        let address =
            address.with_context(|| format!("{flag}: {url:?} is no IP address with a port"))?;
        Ok((address, has_tls(url)))
    };
    urls(text).iter().map(address).collect()
}

/// The `HOST:PORT` in a URL.
///
/// # Errors
/// If it has another scheme, or no port.
pub fn host_and_port(url: &str) -> anyhow::Result<String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest else {
        bail!("{url:?} does not begin with http:// or https://");
    };
    let rest = rest.trim_end_matches('/');
    match rest.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(rest.to_owned())
        }
        _ => bail!("{url:?} has no port"),
    }
}

/// Whether a URL asks for TLS.
pub fn has_tls(url: &str) -> bool {
    url.starts_with("https://")
}

/// Whether this is an address as etcd takes them: scheme, host, port, and no path.
pub fn is_url(url: &str) -> bool {
    host_and_port(url).is_ok_and(|address| !address.contains('/') && url.ends_with(&address))
}

/// Refuses an address that means "any": others cannot dial it.
///
/// # Errors
/// With addresses of this machine to choose from.
pub fn can_be_advertised(flag: &str, url: &str) -> anyhow::Result<()> {
    let address = host_and_port(url)?;
    let (host, port) = address.rsplit_once(':').unwrap_or((&address, ""));
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if !ip.is_ok_and(|ip| ip.is_unspecified()) {
        return Ok(());
    }
    let scheme = if has_tls(url) { "https" } else { "http" };
    let own = own_addresses().into_iter().map(|own| format!("{scheme}://{own}:{port}"));
    bail!(
        "{url} cannot be advertised: it means any address of this machine, and others need one \
         that they can dial. Give {flag} one of {}, or a name that leads here",
        own.collect::<Vec<_>>().join(" ")
    )
}

/// Addresses at which others may reach this machine: its name, and the sources of its routes.
fn own_addresses() -> Vec<String> {
    let mut own = Vec::new();
    // No packet is sent: connecting a UDP socket only chooses a route (RFC 5737, 3849).
    for (any, far) in [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")] {
        let socket = std::net::UdpSocket::bind(any).and_then(|socket| {
            socket.connect(far)?;
            socket.local_addr()
        });
        match socket.map(|address| address.ip()) {
            Ok(IpAddr::V4(ip)) => own.push(ip.to_string()),
            Ok(IpAddr::V6(ip)) => own.push(format!("[{ip}]")),
            Err(_) => {}
        }
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    own.extend(Some(name.trim().to_owned()).filter(|name| !name.is_empty()));
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_means_any_is_not_advertised() {
        for url in ["http://0.0.0.0:2380", "http://[::]:2380"] {
            let why = can_be_advertised("--flag", url).unwrap_err().to_string();
            assert!(why.contains(url) && why.contains("--flag"), "{why}");
        }
        for url in ["http://n1.example:2380", "http://127.0.0.1:1", "http://[::1]:1"] {
            can_be_advertised("--flag", url).unwrap();
        }
    }

    #[test]
    fn urls_have_a_scheme_and_a_port() {
        assert_eq!(host_and_port("http://a.b:1/").unwrap(), "a.b:1");
        assert_eq!(host_and_port("https://a.b:1").unwrap(), "a.b:1");
        for url in ["a.b:1", "ftp://a.b:1", "http://a.b", "http://:1", "http://a:b"] {
            host_and_port(url).unwrap_err();
        }
    }
}
