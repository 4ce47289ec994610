//! Finds the name that was probably meant.

/// A name longer than this gets no suggestion: the distance costs its length squared.
const MAX_LENGTH: usize = 64;

/// The candidate nearest to `name`, when one is near enough to be what was meant. Case and the
/// separators `-` and `_` cost nothing, so `slow-consumer` finds `slowConsumer`.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.chars().count() > MAX_LENGTH {
        return None;
    }
    let wanted = normalised(name);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let letters = normalised(candidate);
            let steps = distance(&wanted, &letters);
            let is_near = steps <= (wanted.len().max(letters.len()) / 3).max(1) && steps < letters.len();
            is_near.then_some((steps, candidate))
        })
        .min_by_key(|&(steps, _)| steps)
        .map(|(_, candidate)| candidate)
}

fn normalised(name: &str) -> Vec<char> {
    name.chars().filter(|character| !matches!(character, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// Optimal string alignment: insert, delete, replace, and swap of neighbours cost one each.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, &character) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, &other) in right.iter().enumerate() {
            let replace = at(&above, column) + usize::from(character != other);
            let mut best = replace.min(at(&above, column + 1) + 1).min(at(&current, column) + 1);
            let swapped = row > 0
                && column > 0
                && left.get(row - 1) == Some(&other)
                && right.get(column - 1) == Some(&character);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            current.push(best);
        }
        before = above;
        above = current;
    }
    above.last().copied().unwrap_or(0)
}

fn at(row: &[usize], column: usize) -> usize {
    row.get(column).copied().unwrap_or(usize::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 4] = ["maxSize", "slowConsumer", "ttl", "type"];

    #[test]
    fn a_slip_of_the_fingers_finds_the_field() {
        assert_eq!(nearest("maxSzie", FIELDS), Some("maxSize"));
        assert_eq!(nearest("typ", FIELDS), Some("type"));
        assert_eq!(nearest("slow-consumer", FIELDS), Some("slowConsumer"));
        assert_eq!(nearest("SLOW_CONSUMER", FIELDS), Some("slowConsumer"));
    }

    #[test]
    fn a_different_word_finds_nothing() {
        assert_eq!(nearest("colour", FIELDS), None);
        assert_eq!(nearest("x", FIELDS), None);
        assert_eq!(nearest("", FIELDS), None);
        assert_eq!(nearest(&"type".repeat(100), FIELDS), None);
    }

    #[test]
    fn a_swap_of_neighbours_is_one_step() {
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        assert_eq!(distance(&characters("maxszie"), &characters("maxsize")), 1);
        assert_eq!(distance(&characters("kitten"), &characters("sitting")), 3);
        assert_eq!(distance(&[], &characters("abc")), 3);
    }
}
