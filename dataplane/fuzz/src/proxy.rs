//! Headers of the PROXY protocol from anyone: what is read of a part of one holds for the whole.

use mqd::proxy::{MAX_VARIABLE, parse};

/// Bytes of the longest header of either version.
const LONGEST: usize = 16 + MAX_VARIABLE;

/// The beginning of a connection.
pub fn proxy(input: &[u8]) {
    let whole = parse(input);
    if let Ok(Some(header)) = whole {
        assert!(header.length <= input.len() && header.length <= LONGEST);
        assert_eq!(parse(&input[..header.length]), whole, "what follows a header does not matter");
        assert_eq!(parse(&input[..header.length - 1]), Ok(None), "a header has one end");
    }
    if input.len() >= LONGEST {
        assert_ne!(whole, Ok(None), "no header is waited for without end");
    }
    if let Some((_, shorter)) = input.split_last()
        && let Err(error) = parse(shorter)
    {
        assert_eq!(whole, Err(error), "what is no header does not become one");
    }
}
