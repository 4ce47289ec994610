//! Selectors from a peer, on messages from another: whatever they are, judging them ends, and never with
//! both a condition and its opposite.

use mqd::selector::{LENGTH_MAX, Selector};

/// A selector, a byte 0, and the message it is to judge.
pub fn selector(input: &[u8]) {
    let (text, message) = match input.iter().position(|byte| *byte == 0) {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &input[..0]),
    };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let selector = match Selector::parse(text) {
        Ok(selector) => selector,
        Err(error) => {
            let is_inside = text.is_char_boundary(error.offset) || error.offset == LENGTH_MAX;
            assert!(is_inside && error.offset <= text.len(), "{error}");
            return;
        }
    };
    let matches = selector.matches(0, message);
    if let Ok(opposite) = Selector::parse(&format!("NOT ({text})")) {
        assert!(!(matches && opposite.matches(0, message)), "{text} and its opposite hold");
    }
}
