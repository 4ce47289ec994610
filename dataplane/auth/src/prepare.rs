//! Names and passwords in the one form in which they are compared (SASLprep, RFC 4013).

use mq_model::Secret;
use thiserror::Error;
use zeroize::Zeroizing;

/// The longest name of a user, in bytes, before and after preparation.
pub const MAX_NAME: usize = 255;

/// The longest password, in bytes, before and after preparation.
pub const MAX_PASSWORD: usize = 1024;

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 64 * 1024;

/// Why a name or password has no form in which it could be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unprepared {
    #[error("it is empty")]
    Empty,
    #[error("it has more than {limit} bytes")]
    TooLong { limit: usize },
    #[error(
        "it has a character that SASLprep (RFC 4013) forbids: a control or private character, one that is \
         younger than Unicode 3.2, or text in both directions"
    )]
    Forbidden,
}

/// The form of a user's name that is stored and compared: 1 to [`MAX_NAME`] bytes.
///
/// # Errors
///
/// [`Unprepared`] when it has none. Where it says "it", the caller says what it is.
pub fn prepare_name(name: &str) -> Result<String, Unprepared> {
    prepare(name, MAX_NAME).map(|prepared| String::clone(&prepared))
}

/// The form of a password that is hashed: 1 to [`MAX_PASSWORD`] bytes.
///
/// # Errors
///
/// [`Unprepared`] when it has none.
pub fn prepare_password(password: &Secret) -> Result<Zeroizing<String>, Unprepared> {
    prepare(password.expose(), MAX_PASSWORD)
}

fn prepare(text: &str, limit: usize) -> Result<Zeroizing<String>, Unprepared> {
    // Before anything else, so that normalization has a bounded amount of work.
    if text.len() > limit {
        return Err(Unprepared::TooLong { limit });
    }
    let prepared = stringprep::saslprep(text).map_err(|_| Unprepared::Forbidden)?;
    let prepared = Zeroizing::new(prepared.into_owned());
    match prepared.len() {
        0 => Err(Unprepared::Empty),
        length if length > limit => Err(Unprepared::TooLong { limit }),
        _ => Ok(prepared),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_rfc_4013_have_their_forms() {
        // RFC 4013, 3.
        let good =
            [("I\u{ad}X", "IX"), ("user", "user"), ("USER", "USER"), ("\u{aa}", "a"), ("\u{2168}", "IX")];
        for (given, form) in good {
            assert_eq!(prepare_name(given).as_deref(), Ok(form), "{given:?}");
        }
        for bad in ["\u{7}", "\u{627}1"] {
            assert_eq!(prepare_name(bad), Err(Unprepared::Forbidden), "{bad:?}");
        }
    }

    #[test]
    fn forms_that_look_the_same_are_the_same() {
        let composed = prepare_name("Jos\u{e9}");
        assert_eq!(composed, prepare_name("Jose\u{301}"));
        assert_eq!(prepare_name("a\u{a0}b"), Ok("a b".to_owned()), "spaces are one");
        // What has been prepared is prepared.
        assert_eq!(composed, prepare_name(&composed.clone().expect("it has a form")));
    }

    #[test]
    fn lengths_are_bounded_before_and_after() {
        assert_eq!(prepare_name(""), Err(Unprepared::Empty));
        assert_eq!(prepare_name("\u{ad}"), Err(Unprepared::Empty), "nothing is left of it");
        assert!(prepare_name(&"x".repeat(MAX_NAME)).is_ok());
        let too_long = Err(Unprepared::TooLong { limit: MAX_NAME });
        assert_eq!(prepare_name(&"x".repeat(MAX_NAME + 1)), too_long);
        // 3 bytes that become 33.
        assert_eq!(prepare_name(&"\u{fdfa}".repeat(50)), too_long);
        assert!(prepare_password(&Secret::new("x".repeat(MAX_PASSWORD))).is_ok());
        let password = Secret::new("x".repeat(MAX_PASSWORD + 1));
        assert!(prepare_password(&password).is_err());
    }

    #[test]
    fn control_and_private_characters_and_mixed_directions_are_refused() {
        for bad in
            ["a\nb", "a\0b", "\u{e000}", "\u{fdd0}", "\u{202e}abc", "abc\u{5d0}", "\u{5d0}1", "\u{1f600}"]
        {
            assert_eq!(prepare_name(bad), Err(Unprepared::Forbidden), "{bad:?}");
        }
    }
}
