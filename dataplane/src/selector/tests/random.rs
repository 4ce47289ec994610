//! Random selectors against an evaluator that is as simple as the specification's words.

use std::collections::BTreeMap;

use super::*;

/// A value; absent is `None`.
#[derive(Clone, Debug, PartialEq)]
enum Plain {
    Boolean(bool),
    Integer(i64),
    Real(f64),
    Text(String),
}

type Properties = BTreeMap<&'static str, Plain>;
type Truth = Option<bool>;

/// A condition.
#[derive(Debug)]
enum Condition {
    Flag(&'static str),
    Constant(bool),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Compare(Operand, &'static str, Operand),
    Between(Operand, bool, Operand, Operand),
    In(&'static str, bool, Vec<Plain>),
    Like(&'static str, bool, String),
    Null(&'static str, bool),
}

/// A value of a comparison.
#[derive(Debug)]
enum Operand {
    Literal(Plain),
    Name(&'static str),
    Arithmetic(Box<Self>, char, Box<Self>),
    Minus(Box<Self>),
}

const NAMES: [&str; 6] = ["a", "b", "flag", "name", "absent", "r"];

fn literal(random: &mut fastrand::Rng) -> Plain {
    match random.u8(0..4) {
        0 => Plain::Integer(random.i64(-3..10)),
        1 => Plain::Real(f64::from(random.i32(-6..20)) / 2.0),
        2 => Plain::Boolean(random.bool()),
        _ => Plain::Text(word(random)),
    }
}

fn number(random: &mut fastrand::Rng) -> Plain {
    match random.u8(0..9) {
        0 => Plain::Integer(random.choice([i64::MAX, i64::MIN, i64::MAX - 1]).expect("three")),
        1..5 => Plain::Integer(random.i64(-3..10)),
        _ => Plain::Real(f64::from(random.i32(-6..20)) / 2.0),
    }
}

fn word(random: &mut fastrand::Rng) -> String {
    (0..random.usize(0..4)).map(|_| random.choice(['a', 'b', '\'', 'é']).expect("four")).collect()
}

fn name(random: &mut fastrand::Rng) -> &'static str {
    random.choice(NAMES).expect("names")
}

fn numeric(random: &mut fastrand::Rng, depth: u32) -> Operand {
    match random.u8(0..10) {
        0..3 if depth > 0 => {
            let operator = random.choice(['+', '-', '*', '/']).expect("four");
            Operand::Arithmetic(
                Box::new(numeric(random, depth - 1)),
                operator,
                Box::new(numeric(random, depth - 1)),
            )
        }
        3 if depth > 0 => Operand::Minus(Box::new(numeric(random, depth - 1))),
        4..7 => Operand::Literal(number(random)),
        _ => Operand::Name(name(random)),
    }
}

fn condition(random: &mut fastrand::Rng, depth: u32) -> Condition {
    let inner = |random: &mut fastrand::Rng| Box::new(condition(random, depth - 1));
    match random.u8(0..14) {
        0 | 1 if depth > 0 => Condition::And(inner(random), inner(random)),
        2 | 3 if depth > 0 => Condition::Or(inner(random), inner(random)),
        4 if depth > 0 => Condition::Not(inner(random)),
        5 => Condition::Flag(name(random)),
        6 => Condition::Constant(random.bool()),
        7 => Condition::In(
            name(random),
            random.bool(),
            (0..random.usize(1..4)).map(|_| listed(random)).collect(),
        ),
        8 => Condition::Like(name(random), random.bool(), pattern(random)),
        9 => Condition::Null(name(random), random.bool()),
        10 => Condition::Between(numeric(random, 2), random.bool(), numeric(random, 1), numeric(random, 1)),
        11 => {
            let operator = random.choice(["=", "<>"]).expect("two");
            Condition::Compare(Operand::Literal(literal(random)), operator, Operand::Name(name(random)))
        }
        _ => {
            let operator = random.choice(["=", "<>", "<", "<=", ">", ">="]).expect("six");
            Condition::Compare(numeric(random, 2), operator, numeric(random, 2))
        }
    }
}

fn listed(random: &mut fastrand::Rng) -> Plain {
    if random.bool() { Plain::Text(word(random)) } else { number(random) }
}

fn pattern(random: &mut fastrand::Rng) -> String {
    (0..random.usize(0..6))
        .map(|_| random.choice(['a', 'b', '\'', 'é', '%', '_', '%']).expect("seven"))
        .collect()
}

/// The text of a literal; lowest numbers and negative ones need their sign.
fn written(plain: &Plain) -> String {
    match plain {
        Plain::Boolean(value) => format!("{value}"),
        Plain::Integer(value) => format!("{value}"),
        Plain::Real(value) => format!("{value:?}"),
        Plain::Text(text) => format!("'{}'", text.replace('\'', "''")),
    }
}

fn write_operand(operand: &Operand, random: &mut fastrand::Rng) -> String {
    match operand {
        Operand::Literal(literal) => written(literal),
        Operand::Name(name) => (*name).to_owned(),
        Operand::Minus(inner) => format!("-({})", write_operand(inner, random)),
        Operand::Arithmetic(left, operator, right) => {
            let (left, right) = (write_operand(left, random), write_operand(right, random));
            let space = if random.bool() { " " } else { "" };
            format!("(({left}){space}{operator}{space}({right}))")
        }
    }
}

fn write_condition(condition: &Condition, random: &mut fastrand::Rng) -> String {
    let negation = |is_negated: &bool| if *is_negated { "not " } else { "" };
    match condition {
        Condition::Flag(name) => (*name).to_owned(),
        Condition::Constant(value) => if *value { "TRUE" } else { "False" }.to_owned(),
        Condition::Not(inner) => format!("NOT ({})", write_condition(inner, random)),
        Condition::And(left, right) => {
            // Both bind looser than a parenthesis, so that OR inside needs one.
            let side = |side: &Condition, random: &mut fastrand::Rng| {
                let text = write_condition(side, random);
                if matches!(side, Condition::Or(..)) || random.bool() { format!("({text})") } else { text }
            };
            format!("{} AND {}", side(left, random), side(right, random))
        }
        Condition::Or(left, right) => {
            format!("{}\tor {}", write_condition(left, random), write_condition(right, random))
        }
        Condition::Compare(left, operator, right) => {
            format!("{} {operator} {}", write_operand(left, random), write_operand(right, random))
        }
        Condition::Between(value, is_negated, lowest, highest) => format!(
            "{} {}BETWEEN {} AND {}",
            write_operand(value, random),
            negation(is_negated),
            write_operand(lowest, random),
            write_operand(highest, random)
        ),
        Condition::In(name, is_negated, list) => {
            let list: Vec<_> = list.iter().map(written).collect();
            format!("{name} {}IN ({})", negation(is_negated), list.join(", "))
        }
        Condition::Like(name, is_negated, pattern) => {
            format!("{name} {}LIKE '{}'", negation(is_negated), pattern.replace('\'', "''"))
        }
        Condition::Null(name, is_negated) => format!("{name} IS {}NULL", negation(is_negated)),
    }
}

fn value(operand: &Operand, properties: &Properties) -> Option<Plain> {
    match operand {
        Operand::Literal(literal) => Some(literal.clone()),
        Operand::Name(name) => properties.get(name).cloned(),
        Operand::Minus(inner) => match value(inner, properties)? {
            Plain::Integer(number) => number.checked_neg().map(Plain::Integer),
            Plain::Real(number) => Some(Plain::Real(-number)),
            _ => None,
        },
        Operand::Arithmetic(left, operator, right) => {
            let (left, right) = (value(left, properties)?, value(right, properties)?);
            if let (Plain::Integer(left), Plain::Integer(right)) = (&left, &right) {
                return match operator {
                    '+' => left.checked_add(*right),
                    '-' => left.checked_sub(*right),
                    '*' => left.checked_mul(*right),
                    _ => left.checked_div(*right),
                }
                .map(Plain::Integer);
            }
            let (left, right) = (real(&left)?, real(&right)?);
            Some(Plain::Real(match operator {
                '+' => left + right,
                '-' => left - right,
                '*' => left * right,
                _ => left / right,
            }))
        }
    }
}

fn real(plain: &Plain) -> Option<f64> {
    match plain {
        Plain::Integer(number) => Some(*number as f64),
        Plain::Real(number) => Some(*number),
        _ => None,
    }
}

fn compare(left: Option<Plain>, operator: &str, right: Option<Plain>) -> Truth {
    let (left, right) = (left?, right?);
    if let (Some(a), Some(b)) = (real(&left), real(&right)) {
        let exact = match (&left, &right) {
            (Plain::Integer(a), Plain::Integer(b)) => Some(a.cmp(b)),
            _ => a.partial_cmp(&b),
        };
        return Some(match (operator, exact) {
            ("<>", None) => true,
            (_, None) => false,
            ("=", Some(order)) => order.is_eq(),
            ("<>", Some(order)) => order.is_ne(),
            ("<", Some(order)) => order.is_lt(),
            ("<=", Some(order)) => order.is_le(),
            (">", Some(order)) => order.is_gt(),
            (_, Some(order)) => order.is_ge(),
        });
    }
    let is_alike = std::mem::discriminant(&left) == std::mem::discriminant(&right);
    Some(match operator {
        "=" => is_alike && left == right,
        "<>" => is_alike && left != right,
        _ => false,
    })
}

fn and(left: Truth, right: Truth) -> Truth {
    if left == Some(false) || right == Some(false) { Some(false) } else { Some(left? && right?) }
}

fn or(left: Truth, right: Truth) -> Truth {
    if left == Some(true) || right == Some(true) { Some(true) } else { Some(left? || right?) }
}

/// By trying everything.
fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|taken| like(&text[taken..], rest)),
        Some(('_', rest)) => !text.is_empty() && like(&text[1..], rest),
        Some((character, rest)) => text.first() == Some(character) && like(&text[1..], rest),
    }
}

fn judge(condition: &Condition, properties: &Properties) -> Truth {
    let negate = |is_negated: bool, truth: Truth| truth.map(|truth| truth != is_negated);
    match condition {
        Condition::Flag(name) => match properties.get(name)? {
            Plain::Boolean(value) => Some(*value),
            _ => None,
        },
        Condition::Constant(value) => Some(*value),
        Condition::Not(inner) => judge(inner, properties).map(|truth| !truth),
        Condition::And(left, right) => and(judge(left, properties), judge(right, properties)),
        Condition::Or(left, right) => or(judge(left, properties), judge(right, properties)),
        Condition::Compare(left, operator, right) => {
            compare(value(left, properties), operator, value(right, properties))
        }
        Condition::Between(inner, is_negated, lowest, highest) => {
            let compare =
                |operator, bound| compare(value(inner, properties), operator, value(bound, properties));
            if *is_negated {
                or(compare("<", lowest), compare(">", highest))
            } else {
                and(compare(">=", lowest), compare("<=", highest))
            }
        }
        Condition::In(name, is_negated, list) => {
            let value = properties.get(name);
            let equals = |literal: &Plain| compare(value.cloned(), "=", Some(literal.clone()));
            negate(*is_negated, list.iter().map(equals).fold(Some(false), or))
        }
        Condition::Like(name, is_negated, pattern) => negate(
            *is_negated,
            properties.get(name).map(|value| match value {
                Plain::Text(text) => {
                    let (text, pattern): (Vec<_>, Vec<_>) =
                        (text.chars().collect(), pattern.chars().collect());
                    like(&text, &pattern)
                }
                _ => false,
            }),
        ),
        Condition::Null(name, is_negated) => Some(properties.contains_key(name) == *is_negated),
    }
}

fn encoded(properties: &Properties) -> Bytes {
    let properties: Vec<_> = properties
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Plain::Boolean(value) => Value::Boolean(*value),
                Plain::Integer(number) => Value::Long(*number),
                Plain::Real(number) => Value::Double(*number),
                Plain::Text(text) => Value::from(text.as_str()),
            };
            (*name, value)
        })
        .collect();
    message(&properties)
}

fn properties(random: &mut fastrand::Rng) -> Properties {
    let mut properties = Properties::new();
    properties.insert("a", number(random));
    properties.insert("b", literal(random));
    properties.insert("flag", Plain::Boolean(random.bool()));
    properties.insert("name", Plain::Text(word(random)));
    properties.insert("r", Plain::Real(f64::from(random.i32(-6..20)) / 2.0));
    properties.retain(|_, _| random.u8(0..8) > 0);
    properties
}

#[test]
fn random_selectors_judge_as_the_words_of_the_specification_do() {
    let seed =
        std::env::var("MQ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut counts = [0_u32; 3];
    for round in 0..4_000 {
        let condition = condition(&mut random, 4);
        let written = write_condition(&condition, &mut random);
        for _ in 0..4 {
            let properties = properties(&mut random);
            let expected = judge(&condition, &properties);
            let found = truth(&written, &encoded(&properties));
            assert_eq!(found, expected, "MQ_SEED={seed} round {round}: {written} of {properties:?}");
            counts[match expected {
                Some(true) => 0,
                Some(false) => 1,
                None => 2,
            }] += 1;
        }
    }
    assert!(
        counts.iter().all(|count| *count > 500),
        "MQ_SEED={seed}: a truth value hardly came up: {counts:?}"
    );
}

#[test]
fn random_text_never_panics_and_its_errors_lie_inside_of_it() {
    let seed =
        std::env::var("MQ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    let parts = [
        "a",
        "JMSType",
        "amqp.to",
        "'x'",
        "'",
        "\"",
        "1",
        "1.5",
        "0x",
        "(",
        ")",
        "=",
        "<>",
        "<",
        "+",
        "-",
        "*",
        "/",
        ",",
        " ",
        " AND ",
        " OR ",
        "NOT ",
        " IN ",
        " LIKE ",
        " IS ",
        "NULL",
        " BETWEEN ",
        " ESCAPE ",
        "é",
        "€",
        "_",
        "%",
        "1e",
    ];
    let message = full().to_bytes();
    for _ in 0..20_000 {
        let text: String = (0..random.usize(0..12)).map(|_| random.choice(parts).expect("parts")).collect();
        match Selector::parse(&text) {
            Ok(selector) => {
                selector.matches(0, &message);
            }
            Err(error) => assert!(text.is_char_boundary(error.offset), "MQ_SEED={seed}: {text:?}: {error}"),
        }
    }
}
