//! What is no selector, and how it is told.

use super::super::{DEPTH_MAX, LENGTH_MAX, NODES_MAX, Problem, SelectorError};
use super::*;

#[track_caller]
fn error(text: &str) -> SelectorError {
    Selector::parse(text).expect_err(text)
}

#[test]
fn errors_say_what_was_expected_and_where() {
    for (text, offset, message) in [
        ("color =", 7, "expected a name, a value or (, found the end"),
        (
            "color = 'red",
            8,
            "the text in ' has no end; close it with another ', and write one inside it twice",
        ),
        ("color = = 1", 8, "expected a name, a value or (, found `=`"),
        ("a = 1 b = 2", 6, "expected an operator or the end, found `b`"),
        ("a = 1)", 5, "expected an operator or the end, found `)`"),
        ("(a = 1", 6, "expected an operator or ), found the end"),
        ("a NOT = 1", 6, "expected BETWEEN, IN or LIKE, found `=`"),
        ("a IS 1", 5, "expected NULL or NOT NULL, found `1`"),
        ("a IS NOT", 8, "expected NULL, found the end"),
        ("a BETWEEN 1 OR 2", 12, "expected AND and the upper end of BETWEEN, found `OR`"),
        ("a IN 'x'", 5, "expected ( and the values of IN, found `'x'`"),
        ("a IN ()", 6, "expected a name, a value or (, found `)`"),
        ("a IN ('x' 'y')", 10, "expected , or ), found `'y'`"),
        ("a IN (b)", 6, "expected a text or a number, found `b`"),
        ("a LIKE b", 7, "expected a pattern in single quotes, found `b`"),
        ("a LIKE 'x' ESCAPE 'ab'", 18, "expected one character in single quotes, found `'ab'`"),
        (
            "a LIKE 'x!y' ESCAPE '!'",
            7,
            "the escape character of LIKE stands before neither %, _ nor itself in `x!y`",
        ),
        ("5 LIKE 'x'", 0, "expected a name or a text before LIKE, found `5`"),
        ("a < 'b'", 4, "expected a number, found `'b'`"),
        ("TRUE > a", 0, "expected a number, found `TRUE`"),
        ("a + 'b' = 1", 4, "expected a number, found `'b'`"),
        ("-'b' = 1", 1, "expected a number, found `'b'`"),
        ("a BETWEEN 'a' AND 'b'", 10, "expected a number, found `'a'`"),
        ("a = 1 = TRUE", 6, "expected AND, OR or the end behind a comparison, found `=`"),
        ("a + 1", 0, "expected a condition, not a text or a number, found `a`"),
        ("'x'", 0, "expected a condition, not a text or a number, found `'x'`"),
        ("a = 1 AND 5", 10, "expected a condition, not a text or a number, found `5`"),
        ("NOT 5", 4, "expected a condition, not a text or a number, found `5`"),
        ("a = NULL", 4, "expected a name, a value or (, found `NULL`"),
        ("a ? 1", 2, "`?` is no character of a selector"),
        ("a != 1", 2, "`!` is no character of a selector"),
        ("größe € 1", 8, "`€` is no character of a selector"),
        ("a = 1x", 4, "`1x` is not a number; an exact one is written 57 or 0x39, an approximate one 5.7E1"),
        ("a = 09", 4, "`09` is not a number; an exact one is written 57 or 0x39, an approximate one 5.7E1"),
        (
            "a = 1.2.3",
            4,
            "`1.2.3` is not a number; an exact one is written 57 or 0x39, an approximate one 5.7E1",
        ),
        ("a = 1_", 4, "`1_` is not a number; an exact one is written 57 or 0x39, an approximate one 5.7E1"),
        ("a = 9223372036854775808", 4, "`9223372036854775808` is beyond the range of numbers"),
        ("a = -9223372036854775809", 5, "`9223372036854775809` is beyond the range of numbers"),
        ("a = 1E999", 4, "`1E999` is beyond the range of numbers"),
        (
            "JMSPriorty = 4",
            0,
            "`JMSPriorty` is no field of a message; names of application properties do not begin with JMS",
        ),
        (
            "amqp.foo = 4",
            0,
            "`amqp.foo` is no field of a message; names of application properties do not begin with amqp.",
        ),
        (
            "a OR JMSXDeliveryCount > 1",
            5,
            "`JMSXDeliveryCount` cannot be selected on: it is known when a message is received only",
        ),
    ] {
        let error = error(text);
        assert_eq!((error.offset, error.problem.to_string()), (offset, message.to_owned()), "{text}");
        assert_eq!(error.to_string(), format!("{message} (at byte {offset})"));
    }
}

#[test]
fn length_depth_and_nodes_have_limits() {
    let long = format!("a = '{}'", "x".repeat(LENGTH_MAX - 6));
    assert_eq!(long.len(), LENGTH_MAX);
    assert!(Selector::parse(&long).is_ok());
    assert_eq!(error(&format!("{long} ")).problem, Problem::TooLong(LENGTH_MAX + 1));

    let nested = |depth: u32| {
        let depth = depth as usize;
        format!("{}a{}", "(".repeat(depth), ")".repeat(depth))
    };
    assert!(Selector::parse(&nested(DEPTH_MAX)).is_ok());
    let too_deep = error(&nested(DEPTH_MAX + 1));
    assert_eq!((too_deep.offset, too_deep.problem), (DEPTH_MAX as usize, Problem::TooDeep));
    assert!(Selector::parse(&format!("{} OR {}", nested(DEPTH_MAX), nested(DEPTH_MAX))).is_ok());

    let chain = |count: u32| vec!["a"; count as usize].join(" OR ");
    assert!(Selector::parse(&chain(NODES_MAX)).is_ok());
    assert_eq!(error(&chain(NODES_MAX + 1)).problem, Problem::TooMany);
}

#[test]
fn long_chains_of_signs_and_negations_need_no_depth() {
    let message = message(&[("a", Value::Int(1)), ("t", true.into())]);
    assert!(matches(&format!("{}a = -1", "-".repeat(8_001)), &message));
    assert!(matches(&format!("{}t", "NOT ".repeat(2_000)), &message));
    assert!(matches(&format!("a{} = 501", " + a".repeat(500)), &message));
}
