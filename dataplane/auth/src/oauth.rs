//! The messages of OAUTHBEARER (RFC 7628) and XOAUTH2.

use mq_model::Secret;

use crate::plain::name_of;
use crate::prepare::{MAX_NAME, MAX_TOKEN};
use crate::refusal::Refusal;

/// Between the key-value pairs of both mechanisms.
const SEPARATOR: char = '\u{1}';
/// Room for the header, and the pairs that say which host and port the client has meant.
const MAX_MESSAGE: usize = MAX_TOKEN + 4 * MAX_NAME;

/// What a client has said: its token, and the name that it expects to have with it.
pub(crate) struct Bearer {
    pub(crate) token: Secret,
    pub(crate) wanted: Option<String>,
}

/// RFC 7628, 3.1: `gs2-header kvsep *kvpair kvsep`.
pub(crate) fn parse_bearer(message: &[u8]) -> Result<Bearer, Refusal> {
    let text = text_of(message)?;
    let (header, pairs) = text.split_once(SEPARATOR).ok_or(FORM)?;
    let wanted = parse_header(header)?;
    Ok(Bearer { token: token_of(pairs)?, wanted })
}

/// `user=` name, separator, pairs.
pub(crate) fn parse_xoauth2(message: &[u8]) -> Result<Bearer, Refusal> {
    let text = text_of(message)?;
    let (user, pairs) = text.split_once(SEPARATOR).ok_or(FORM)?;
    let user = user.strip_prefix("user=").ok_or(FORM)?;
    let wanted = if user.is_empty() { None } else { Some(name_of(user)?) };
    Ok(Bearer { token: token_of(pairs)?, wanted })
}

/// RFC 7628, 3.2.2: what a client is told before its empty answer ends the exchange. It names no reason
/// beyond the standard word, since the client is a stranger.
pub(crate) fn failure() -> Vec<u8> {
    br#"{"status":"invalid_token"}"#.to_vec()
}

fn text_of(message: &[u8]) -> Result<&str, Refusal> {
    if message.len() > MAX_MESSAGE {
        return Err(Refusal::Malformed("the message with the token is too long"));
    }
    std::str::from_utf8(message).map_err(|_| Refusal::Malformed("the message with the token is no UTF-8"))
}

/// The GS2 header (RFC 5801, 4), `n,[a=name],`: neither of its commas may be left out.
fn parse_header(header: &str) -> Result<Option<String>, Refusal> {
    let [flag, name, ""] = *header.split(',').collect::<Vec<_>>() else {
        return Err(FORM);
    };
    match flag {
        "n" | "y" => {}
        _ if flag.starts_with("p=") => return Err(Refusal::ChannelBinding),
        _ => return Err(FORM),
    }
    crate::scram::authorization_name(name)
}

/// The token among the pairs, each of which ends with a separator, as does the whole.
fn token_of(pairs: &str) -> Result<Secret, Refusal> {
    let pairs = pairs.strip_suffix("\u{1}\u{1}").ok_or(FORM)?;
    let mut token = None;
    for pair in pairs.split(SEPARATOR) {
        let (key, value) = pair.split_once('=').ok_or(FORM)?;
        if key == "auth" && token.replace(value).is_some() {
            return Err(FORM);
        }
    }
    let (scheme, token) = token.and_then(|value| value.split_once(' ')).ok_or(FORM)?;
    let token = token.trim_matches(' ');
    // RFC 6750, 2.1: b64token, of which a dot is one.
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    let is_well_formed =
        scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.bytes().all(is_token);
    if !is_well_formed || token.len() > MAX_TOKEN {
        return Err(FORM);
    }
    Ok(Secret::new(token))
}

const FORM: Refusal = Refusal::Malformed("the message with the token has not the form of its mechanism");
