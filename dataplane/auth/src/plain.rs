//! The messages of PLAIN (RFC 4616) and the names of EXTERNAL (RFC 4422, appendix A).

use mq_model::Secret;

use crate::prepare::{MAX_NAME, MAX_PASSWORD, prepare_name};
use crate::refusal::Refusal;

const MAX_MESSAGE: usize = 2 * MAX_NAME + MAX_PASSWORD + 2;

/// Name and password of `[authzid] NUL authcid NUL passwd`.
pub(crate) fn parse(message: &[u8]) -> Result<(String, Secret), Refusal> {
    if message.len() > MAX_MESSAGE {
        return Err(Refusal::Malformed("the message of PLAIN is too long"));
    }
    let text =
        std::str::from_utf8(message).map_err(|_| Refusal::Malformed("the message of PLAIN is no UTF-8"))?;
    let mut parts = text.split('\0');
    let (Some(authorization), Some(name), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::Malformed("the message of PLAIN has not three parts"));
    };
    if password.is_empty() || password.len() > MAX_PASSWORD {
        return Err(Refusal::Malformed("the password is empty or too long"));
    }
    let name = name_of(name)?;
    if !authorization.is_empty() && name_of(authorization)? != name {
        return Err(Refusal::AnotherUser);
    }
    Ok((name, Secret::new(password)))
}

/// The name that a client with a certificate asks for, if it asks for one.
pub(crate) fn parse_external(message: &[u8]) -> Result<Option<String>, Refusal> {
    if message.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(message)
        .map_err(|_| Refusal::Malformed("the message of EXTERNAL is no UTF-8"))?;
    name_of(text).map(Some)
}

/// A name in the form in which it is compared.
pub(crate) fn name_of(text: &str) -> Result<String, Refusal> {
    prepare_name(text)
        .map_err(|_| Refusal::Malformed("a name is empty, too long or has forbidden characters"))
}
