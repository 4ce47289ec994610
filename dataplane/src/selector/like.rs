//! Patterns of `LIKE` (JMS 2.0 section 3.8.1.1): `_` stands for one character, `%` for any number of them.

use super::error::{Problem, quoted};

/// A pattern, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Character(char),
    One,
    Many,
}

/// A comparison has cost more than its budget.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooCostly;

impl Pattern {
    /// Takes a pattern apart. The character behind `escape` stands for itself.
    pub(super) fn new(text: &str, escape: Option<char>) -> Result<Self, Problem> {
        let mut parts = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let part = if Some(character) == escape {
                match characters.next() {
                    Some(literal) if matches!(literal, '%' | '_') || Some(literal) == escape => {
                        Part::Character(literal)
                    }
                    _ => return Err(Problem::Escape(quoted(text))),
                }
            } else {
                match character {
                    '%' => Part::Many,
                    '_' => Part::One,
                    character => Part::Character(character),
                }
            };
            // Two are as good as one, and cost more.
            if part != Part::Many || parts.last() != Some(&Part::Many) {
                parts.push(part);
            }
        }
        Ok(Self { parts: parts.into() })
    }

    /// Whether the whole of `text` fits the pattern. Takes a step off `steps` for each character compared.
    ///
    /// Goes back to the last `%` only: what an earlier one stood for need not be tried again, because the
    /// leftmost fit of the parts between the two leaves the most for the rest.
    pub(super) fn matches(&self, text: &str, steps: &mut u32) -> Result<bool, TooCostly> {
        let mut rest = text.chars();
        let mut parts = self.parts.iter();
        let mut last_many = None;
        loop {
            *steps = steps.checked_sub(1).ok_or(TooCostly)?;
            let mut behind = rest.clone();
            let fits = match parts.as_slice().first() {
                Some(Part::Many) => {
                    parts.next();
                    if parts.as_slice().is_empty() {
                        return Ok(true);
                    }
                    last_many = Some((parts.clone(), rest.clone()));
                    continue;
                }
                Some(Part::One) => behind.next().is_some(),
                Some(Part::Character(expected)) => behind.next() == Some(*expected),
                None if behind.next().is_none() => return Ok(true),
                None => false,
            };
            if fits {
                parts.next();
                rest = behind;
                continue;
            }
            // The last `%` stands for one character more.
            let Some((many_parts, many_rest)) = &mut last_many else { return Ok(false) };
            if many_rest.next().is_none() {
                return Ok(false);
            }
            parts = many_parts.clone();
            rest = many_rest.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(text: &str, pattern: &str, escape: Option<char>) -> bool {
        let pattern = Pattern::new(pattern, escape).expect("a valid pattern");
        pattern.matches(text, &mut 10_000).expect("within its budget")
    }

    #[test]
    fn underscore_is_one_character_and_percent_any_number() {
        assert!(like("123", "12%3", None));
        assert!(like("12993", "12%3", None));
        assert!(!like("1234", "12%3", None));
        assert!(like("lose", "l_se", None));
        assert!(!like("loose", "l_se", None));
        assert!(like("", "%", None));
        assert!(!like("", "_", None));
        assert!(like("", "", None));
        assert!(!like("a", "", None));
        assert!(like("l€se", "l_se", None), "a character of three bytes is one");
        assert!(like("mississippi", "%ss%pp%", None));
        assert!(like("aab", "%a_", None));
        assert!(!like("LOSE", "l_se", None));
    }

    #[test]
    fn an_escaped_wildcard_stands_for_itself() {
        assert!(like("_foo", "\\_%", Some('\\')));
        assert!(!like("bar", "\\_%", Some('\\')));
        assert!(like("100%", "100!%", Some('!')));
        assert!(like("a!", "a!!", Some('!')));
        assert!(matches!(Pattern::new("a!b", Some('!')), Err(Problem::Escape(_))));
        assert!(matches!(Pattern::new("a!", Some('!')), Err(Problem::Escape(_))));
    }

    #[test]
    fn a_comparison_beyond_its_budget_is_given_up() {
        let pattern = Pattern::new("%aaaaaaaaaaaaaaaab%", None).expect("a valid pattern");
        assert_eq!(pattern.matches(&"a".repeat(10_000), &mut 10_000), Err(TooCostly));
    }
}
