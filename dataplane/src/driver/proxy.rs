//! The header with which a load balancer says who the client behind it is: the PROXY protocol, versions 1
//! and 2 (HAProxy, "The PROXY protocol", sections 2.1 and 2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a header of version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// What a header of version 1 begins with.
const PREFIX: &[u8] = b"PROXY ";

/// Bytes of the longest line of version 1, line end included (2.1).
const MAX_LINE: usize = 107;

/// Bytes of version 2 up to and with the length of the rest.
const FIXED: usize = 16;

/// Bytes that may follow the fixed part of version 2: addresses, and the TLVs of a proxy that says much.
pub const MAX_VARIABLE: usize = 4_096;

/// A header that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes that it takes.
    pub length: usize,
    /// The client. `None`: the connection is the proxy's own, or the client has no address of IP; what
    /// the socket says counts.
    pub source: Option<SocketAddr>,
}

/// Why what came is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    #[error(
        "the connection does not begin with a header of the PROXY protocol; \
         set proxy-protocol only on a listener behind a proxy that writes one"
    )]
    Missing,
    #[error("the header of the PROXY protocol does not end within {MAX_LINE} bytes")]
    LongLine,
    #[error("the header of the PROXY protocol cannot be read: {0}")]
    Malformed(&'static str),
    #[error("the header of the PROXY protocol has {0} bytes after its fixed part, more than {MAX_VARIABLE}")]
    TooLarge(usize),
}

/// Reads the header that `input` begins with; `None` while it is not whole.
///
/// # Errors
/// As soon as it is clear that there is none, or that it breaks the rules.
pub fn parse(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    let begins_with = |start: &[u8]| input.iter().zip(start).all(|(byte, expected)| byte == expected);
    if begins_with(&SIGNATURE) {
        return parse_binary(input);
    }
    if begins_with(PREFIX) {
        return parse_line(input);
    }
    Err(ProxyError::Missing)
}

/// 2.2.
fn parse_binary(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    let Some((fixed, rest)) = input.split_first_chunk::<FIXED>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    if command >> 4 != 2 {
        return Err(ProxyError::Malformed("its version is not 2"));
    }
    let size = usize::from(u16::from_be_bytes([high, low]));
    if size > MAX_VARIABLE {
        return Err(ProxyError::TooLarge(size));
    }
    let Some(variable) = rest.get(..size) else { return Ok(None) };
    let source = match command & 0x0f {
        // LOCAL: a health check of the proxy. "The receiver must accept this connection as valid and must
        // use the real connection endpoints".
        0 => None,
        1 => address(family, variable)?,
        _ => return Err(ProxyError::Malformed("its command is neither LOCAL nor PROXY")),
    };
    Ok(Some(Header { length: FIXED + size, source }))
}

/// The source in the addresses of version 2. What follows the addresses are TLVs, which are skipped.
fn address(family: u8, variable: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    if family >> 4 > 3 || family & 0x0f > 2 {
        return Err(ProxyError::Malformed("its address family or transport is not assigned"));
    }
    let short = ProxyError::Malformed("it is too short for its addresses");
    match family {
        0x11 => {
            let addresses = variable.first_chunk::<12>().ok_or(short)?;
            let [a, b, c, d, _, _, _, _, high, low, ..] = *addresses;
            let port = u16::from_be_bytes([high, low]);
            Ok(Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port)))
        }
        0x21 => {
            let addresses = variable.first_chunk::<36>().ok_or(short)?;
            let (source, rest) = addresses.split_first_chunk::<16>().ok_or(short)?;
            let [high, low] = rest.get(16..18).and_then(|port| port.try_into().ok()).ok_or(short)?;
            Ok(Some(SocketAddr::new(Ipv6Addr::from(*source).into(), u16::from_be_bytes([high, low]))))
        }
        // Unspecified, UNIX sockets and datagrams: there is no address of a TCP client in it.
        _ => Ok(None),
    }
}

/// 2.1: `PROXY TCP4 <source> <destination> <source port> <destination port>`, or `PROXY UNKNOWN` and
/// whatever follows on the line.
fn parse_line(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    let window = input.get(..MAX_LINE).unwrap_or(input);
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if window.len() == MAX_LINE { Err(ProxyError::LongLine) } else { Ok(None) };
    };
    let malformed = ProxyError::Malformed("its line is not one of version 1");
    let line =
        window.get(PREFIX.len()..end).and_then(|line| std::str::from_utf8(line).ok()).ok_or(malformed)?;
    let mut words = line.split(' ');
    let source = match words.next() {
        Some("UNKNOWN") => None,
        Some(family @ ("TCP4" | "TCP6")) => {
            let mut next = || words.next().ok_or(malformed);
            let (source, destination) = (ip(next()?, family)?, ip(next()?, family)?);
            let (port, _) = (port(next()?)?, port(next()?)?);
            if words.next().is_some() || source.is_ipv4() != destination.is_ipv4() {
                return Err(malformed);
            }
            Some(SocketAddr::new(source, port))
        }
        _ => return Err(malformed),
    };
    Ok(Some(Header { length: end + 2, source }))
}

fn ip(text: &str, family: &str) -> Result<IpAddr, ProxyError> {
    let parsed = match family {
        "TCP4" => text.parse().ok().map(IpAddr::V4),
        _ => text.parse().ok().map(IpAddr::V6),
    };
    parsed.ok_or(ProxyError::Malformed("an address in its line is not one of its family"))
}

/// A decimal number without sign or leading zeros.
fn port(text: &str) -> Result<u16, ProxyError> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    let port = text.parse().ok().filter(|_| is_plain);
    port.ok_or(ProxyError::Malformed("a port in its line is not a number up to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(command: u8, family: u8, variable: &[u8]) -> Vec<u8> {
        let length = u16::try_from(variable.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, variable].concat()
    }

    fn source(input: &[u8]) -> Option<SocketAddr> {
        let header = parse(input).expect("a header").expect("whole");
        assert_eq!(header.length, input.len());
        header.source
    }

    #[test]
    fn a_line_names_the_client() {
        let four = source(b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n");
        assert_eq!(four, Some("192.0.2.1:56324".parse().expect("an address")));
        let six = source(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n");
        assert_eq!(six, Some("[2001:db8::1]:1".parse().expect("an address")));
    }

    #[test]
    fn an_unknown_client_has_the_address_of_the_socket() {
        assert_eq!(source(b"PROXY UNKNOWN\r\n"), None);
        assert_eq!(source(b"PROXY UNKNOWN ffff:f...f:ffff whatever\r\n"), None);
    }

    #[test]
    fn the_binary_form_names_the_client_and_its_tlvs_are_skipped() {
        let four = [192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 0x01, 0xbb];
        let expected = Some("192.0.2.1:56324".parse().expect("an address"));
        assert_eq!(source(&binary(0x21, 0x11, &four)), expected);
        let with_tlvs = [&four[..], &[0x04, 0, 3, 0, 0, 0, 0x05, 0, 1, b'x']].concat();
        assert_eq!(source(&binary(0x21, 0x11, &with_tlvs)), expected);

        let mut six = [0; 36];
        six[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        six[15] = 1;
        six[32..34].copy_from_slice(&7_u16.to_be_bytes());
        assert_eq!(source(&binary(0x21, 0x21, &six)), Some("[2001:db8::1]:7".parse().expect("an address")));
    }

    #[test]
    fn the_proxys_own_connections_and_other_families_have_the_address_of_the_socket() {
        assert_eq!(source(&binary(0x20, 0x00, &[])), None, "LOCAL");
        assert_eq!(source(&binary(0x20, 0x11, &[1, 2])), None, "LOCAL says nothing of addresses");
        assert_eq!(source(&binary(0x21, 0x00, &[])), None, "unspecified");
        assert_eq!(source(&binary(0x21, 0x31, &[0; 216])), None, "a UNIX socket");
        assert_eq!(source(&binary(0x21, 0x12, &[0; 12])), None, "datagrams");
    }

    #[test]
    fn a_header_in_pieces_is_waited_for() {
        let headers: [&[u8]; 2] =
            [b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", &binary(0x21, 0x11, &[1; 30])];
        for header in headers {
            for end in 0..header.len() {
                assert_eq!(parse(&header[..end]), Ok(None), "{end} bytes");
            }
            let followed = [header, b"\x10\x0c"].concat();
            assert_eq!(
                parse(&followed).map(|header| header.map(|header| header.length)),
                Ok(Some(header.len()))
            );
        }
    }

    #[test]
    fn what_is_no_header_is_told_apart_at_once() {
        for other in [&b"\x10"[..], b"AMQP", b"PROXI", b"GET / HTTP/1.1\r\n", b"\r\n\r\n\r"] {
            assert_eq!(parse(other), Err(ProxyError::Missing), "{}", other.escape_ascii());
        }
    }

    #[test]
    fn a_line_of_107_bytes_is_the_longest() {
        let line = |length: usize| [b"PROXY UNKNOWN ", &vec![b'x'; length - 16][..], b"\r\n"].concat();
        assert_eq!(source(&line(107)), None);
        assert_eq!(parse(&line(108)), Err(ProxyError::LongLine));
        assert_eq!(parse(&[b"PROXY UNKNOWN ", &[b'x'; 93][..]].concat()), Err(ProxyError::LongLine));
    }

    #[test]
    fn the_variable_part_is_bounded() {
        assert_eq!(source(&binary(0x21, 0x11, &[0; MAX_VARIABLE])), Some("0.0.0.0:0".parse().expect("one")));
        let error = parse(&binary(0x21, 0x11, &[0; MAX_VARIABLE + 1])[..FIXED]);
        assert_eq!(error, Err(ProxyError::TooLarge(MAX_VARIABLE + 1)));
    }

    #[test]
    fn malformed_headers_are_refused() {
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 1\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
            "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY \r\n",
        ] {
            assert!(matches!(parse(line.as_bytes()), Err(ProxyError::Malformed(_))), "{line}");
        }
        for (command, family, size) in [
            (0x11, 0x11, 12),
            (0x22, 0x11, 12),
            (0x21, 0x41, 12),
            (0x21, 0x13, 12),
            (0x21, 0x11, 11),
            (0x21, 0x21, 35),
        ] {
            let header = binary(command, family, &vec![0; size]);
            assert!(
                matches!(parse(&header), Err(ProxyError::Malformed(_))),
                "{command:#x} {family:#x} {size}"
            );
        }
    }
}
