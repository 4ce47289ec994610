//! What the language says, on application properties.

use super::*;

const UNKNOWN: Option<bool> = None;

/// Conditions that are true, false and unknown of every message here.
const STATES: [(&str, Option<bool>); 3] =
    [("1 = 1", Some(true)), ("1 = 2", Some(false)), ("absent = 1", UNKNOWN)];

#[test]
fn and_or_and_not_follow_the_tables_of_three_valued_logic() {
    let message = message(&[]);
    for (left, a) in STATES {
        let not = a.map(|a| !a);
        assert_eq!(truth(&format!("NOT {left}"), &message), not, "NOT {left}");
        assert_eq!(truth(&format!("NOT NOT {left}"), &message), a, "NOT NOT {left}");
        for (right, b) in STATES {
            // JMS 3.8.1.2, tables 3-4 and 3-5.
            let and = match (a, b) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => UNKNOWN,
            };
            let or = match (a, b) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => UNKNOWN,
            };
            assert_eq!(truth(&format!("{left} AND {right}"), &message), and, "{left} AND {right}");
            assert_eq!(truth(&format!("{left} OR {right}"), &message), or, "{left} OR {right}");
        }
    }
}

#[test]
fn and_binds_before_or_and_not_before_both() {
    let message = message(&[]);
    assert_eq!(truth("TRUE OR FALSE AND FALSE", &message), Some(true));
    assert_eq!(truth("(TRUE OR FALSE) AND FALSE", &message), Some(false));
    assert_eq!(truth("NOT FALSE AND FALSE", &message), Some(false));
    assert_eq!(truth("NOT TRUE OR TRUE", &message), Some(true));
    assert_eq!(truth("NOT 1 = 2", &message), Some(true));
}

#[test]
fn the_examples_of_the_specification_hold() {
    let age = |age: i32| message(&[("age", Value::Int(age))]);
    assert!(matches("age BETWEEN 15 AND 19", &age(15)));
    assert!(matches("age BETWEEN 15 AND 19", &age(19)));
    assert!(!matches("age BETWEEN 15 AND 19", &age(20)));
    assert!(matches("age NOT BETWEEN 15 AND 19", &age(14)));
    assert!(!matches("age NOT BETWEEN 15 AND 19", &age(17)));

    let country = |name: &str| message(&[("Country", text(name))]);
    assert_eq!(truth("Country IN (' UK', 'US', 'France')", &country("US")), Some(true));
    assert_eq!(truth("Country IN (' UK', 'US', 'France')", &country("Peru")), Some(false));
    assert_eq!(truth("Country NOT IN (' UK', 'US', 'France')", &country("Peru")), Some(true));
    assert_eq!(truth("Country IN ('US')", &message(&[])), UNKNOWN);
    assert_eq!(truth("Country NOT IN ('US')", &message(&[])), UNKNOWN);

    let phone = |number: &str| message(&[("phone", text(number)), ("word", text(number))]);
    assert!(matches("phone LIKE '12%3'", &phone("12993")));
    assert!(!matches("phone LIKE '12%3'", &phone("1234")));
    assert!(matches("word LIKE 'l_se'", &phone("lose")));
    assert!(!matches("word LIKE 'l_se'", &phone("loose")));
    assert!(matches("phone NOT LIKE '12%3'", &phone("1234")));
    assert!(matches("word LIKE '\\_%' ESCAPE '\\'", &phone("_foo")));
    assert!(!matches("word LIKE '\\_%' ESCAPE '\\'", &phone("bar")));
    assert_eq!(truth("absent LIKE '%'", &message(&[])), UNKNOWN);
    assert_eq!(truth("absent NOT LIKE '%'", &message(&[])), UNKNOWN);

    assert!(matches("prop_name IS NULL", &message(&[])));
    assert!(!matches("prop_name IS NOT NULL", &message(&[])));
    assert!(matches("prop_name IS NOT NULL", &message(&[("prop_name", Value::Int(0))])));
    assert!(matches("prop_name IS NULL", &message(&[("prop_name", Value::Null)])));

    let car = Message {
        properties: Some(Properties { subject: Some("car".into()), ..Properties::default() }),
        application_properties: vec![(text("color"), text("blue")), (text("weight"), Value::Int(2_501))],
        ..Message::data("")
    };
    assert!(matches("JMSType = 'car' AND color = 'blue' AND weight > 2500", &car.to_bytes()));
    assert!(!matches("JMSType = 'car' AND color = 'blue' AND weight > 2501", &car.to_bytes()));
}

#[test]
fn literals_are_those_of_java() {
    let message = message(&[]);
    for equal in [
        "57 = +57",
        "-957 = 0 - 957",
        "+62 = 62",
        "0x1F = 31",
        "0X1f = 31L",
        "017 = 15",
        "0b101 = 5",
        "1_000 = 1000",
        "0 = 00",
        "7E3 = 7000",
        "-57.9E2 = -5790",
        "7. = 7",
        "-95.7 = -957 / 10.0",
        "+6.2 = 62 / 10.0",
        ".5 = 1 / 2.0",
        "1e-2 = 0.01",
        "5f = 5",
        "5.5D = 5.5",
        "1E+2 = 100",
        "- - 1 = 1",
        "-9223372036854775808 < -9223372036854775807",
        "9223372036854775807 > 9223372036854775806",
        "'it''s' <> 'its'",
        "'' = ''",
        "true = TRUE",
        "True",
        "nOt fAlSe",
    ] {
        assert_eq!(truth(equal, &message), Some(true), "{equal}");
    }
    assert!(matches("name = 'it''s'", &super::message(&[("name", text("it's"))])));
}

#[test]
fn arithmetic_keeps_the_order_of_operators_and_promotes_to_approximate_numbers() {
    let message = message(&[("a", Value::Int(7)), ("b", Value::Double(0.5)), ("s", text("7"))]);
    for holds in [
        "2 + 3 * 4 = 14",
        "(2 + 3) * 4 = 20",
        "10 - 4 - 3 = 3",
        "100 / 10 / 5 = 2",
        "7 / 2 = 3",
        "7 / 2.0 = 3.5",
        "a / 2 = 3",
        "a * b = 3.5",
        "-a = -7",
        "-(a + 1) = -8",
        "a + -b = 6.5",
        "-a * -a = 49",
        "a > b",
        "a - b >= 6.5",
        "1 / 0.0 > 9223372036854775807",
        "0.0 / 0.0 <> 0.0 / 0.0",
        "+a = 7",
    ] {
        assert_eq!(truth(holds, &message), Some(true), "{holds}");
    }
    for unknown in [
        "1 / 0 = 1",
        "a / 0 = 1",
        "9223372036854775807 + 1 > 0",
        "-9223372036854775808 / -1 > 0",
        "s + 1 = 8",
        "absent + 1 = 8",
        "-absent = 1",
        "-s = -7",
        "- (0 - 9223372036854775807 - 1) > 0",
    ] {
        assert_eq!(truth(unknown, &message), UNKNOWN, "{unknown}");
    }
}

#[test]
fn values_that_are_not_alike_compare_as_false() {
    let message = message(&[("n", Value::Int(5)), ("s", text("5")), ("t", Value::Boolean(true))]);
    for differs in [
        "n = '5'",
        "n <> '5'",
        "s = 5",
        "s <> 5",
        "t = 'true'",
        "t = 1",
        "t > 0",
        "s > 4",
        "s < n",
        "t <> 'x'",
    ] {
        assert_eq!(truth(differs, &message), Some(false), "{differs}");
    }
    assert_eq!(truth("n IN ('5')", &message), Some(false));
    assert_eq!(truth("n LIKE '5'", &message), Some(false));
    assert_eq!(truth("n IN (4, +5)", &message), Some(true));
    assert_eq!(truth("s BETWEEN 1 AND 9", &message), Some(false));
    assert_eq!(truth("s = s AND t = t AND t = (n = 5) AND s <> '6' AND t <> FALSE", &message), Some(true));
}

#[test]
fn a_property_alone_is_a_condition_when_it_is_a_boolean() {
    let message = message(&[("yes", true.into()), ("no", false.into()), ("n", Value::Int(1))]);
    assert_eq!(truth("yes", &message), Some(true));
    assert_eq!(truth("no", &message), Some(false));
    assert_eq!(truth("n", &message), UNKNOWN);
    assert_eq!(truth("absent", &message), UNKNOWN);
    assert_eq!(truth("yes AND NOT no", &message), Some(true));
}

#[test]
fn between_is_two_comparisons() {
    let message = message(&[("a", Value::Int(5))]);
    assert_eq!(truth("a BETWEEN 1 AND absent", &message), UNKNOWN);
    assert_eq!(truth("a BETWEEN 6 AND absent", &message), Some(false));
    assert_eq!(truth("a NOT BETWEEN 6 AND absent", &message), Some(true));
    assert_eq!(truth("a BETWEEN 2 + 2 AND 3 * 2 AND a = 5", &message), Some(true));
    assert_eq!(truth("a BETWEEN 9 AND 1", &message), Some(false));
}

#[test]
fn names_take_letters_of_any_script_and_quotes_take_any_name() {
    let message = message(&[
        ("größe", Value::Int(1)),
        ("$a_1", Value::Int(2)),
        ("a.b", Value::Int(3)),
        ("content-class", Value::Int(4)),
        ("a\"b", Value::Int(5)),
        ("and", Value::Int(6)),
        ("Notable", Value::Int(7)),
    ]);
    let all =
        "größe = 1 AND $a_1 = 2 AND a.b = 3 AND \"content-class\" = 4 AND \"a\"\"b\" = 5 AND \"and\" = 6";
    assert!(matches(all, &message));
    assert!(matches("(Notable=7)AND(a.b=3)", &message));
    assert!(!matches("Größe = 1", &message), "case matters in names");
}

#[test]
fn an_empty_selector_matches_everything() {
    assert!(matches("", b"no message"));
    assert!(matches(" \t\r\n\x0c", b"no message"));
    assert!(selector("").matches(1, b"of another format"));
}
