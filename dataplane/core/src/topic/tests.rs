//! Topics by name, and random ones against `matches`, which compares one filter with one name.

use std::collections::BTreeSet;

use super::*;

fn found(tree: &TopicTree<u32>, name: &str) -> Vec<u32> {
    let mut values = Vec::new();
    tree.matches(name, |value| values.push(*value));
    values.sort_unstable();
    values
}

fn tree_of(filters: &[&str]) -> TopicTree<u32> {
    let mut tree = TopicTree::default();
    for (value, filter) in filters.iter().enumerate() {
        assert_eq!(tree.insert(filter, value as u32), Ok(true));
    }
    tree
}

#[test]
fn wildcards_match_as_mqtt_says() {
    for (filter, name, expected) in [
        ("a", "a", true),
        ("a", "b", false),
        ("a/b", "a", false),
        ("a", "a/b", false),
        ("a/#", "a", true),
        ("a/#", "a/b/c", true),
        ("a/#", "ab", false),
        ("a/#", "a/", true),
        ("#", "a/b", true),
        ("#", "/", true),
        ("+", "a", true),
        ("+", "/a", false),
        ("/+", "/a", true),
        ("+/+", "/a", true),
        ("a/+", "a", false),
        ("a/+", "a/", true),
        ("a/+/c", "a/b/c", true),
        ("a/+/c", "a//c", true),
        ("a/+/#", "a/b", true),
        ("a/+/#", "a", false),
        ("#", "$SYS/x", false),
        ("+/x", "$SYS/x", false),
        ("$SYS/#", "$SYS/x", true),
        ("$SYS/+", "$SYS/x", true),
        ("a/+", "a/$b", true),
        ("a/#", "a/$b", true),
    ] {
        assert_eq!(matches(filter, name), expected, "{filter} and {name}");
        assert_eq!(found(&tree_of(&[filter]), name).len() == 1, expected, "{filter} and {name}, in the tree");
    }
}

#[test]
fn names_and_filters_that_are_wrong_are_told_where() {
    let levels = |levels: usize| vec!["a"; levels].join("/");
    assert_eq!(validate_name(""), Err(TopicError::Empty));
    assert_eq!(validate_name("a/\0"), Err(TopicError::Nul { at: 2 }));
    assert_eq!(validate_name("a/+"), Err(TopicError::WildcardInName { wildcard: '+', at: 2 }));
    assert_eq!(validate_name("é#"), Err(TopicError::WildcardInName { wildcard: '#', at: 2 }));
    assert_eq!(validate_name(&levels(MAX_LEVELS)), Ok(()));
    assert_eq!(validate_name(&levels(MAX_LEVELS + 1)), Err(TopicError::TooManyLevels));
    assert_eq!(validate_filter(&"a".repeat(MAX_BYTES)), Ok(()));
    assert_eq!(validate_filter(&"a".repeat(MAX_BYTES + 1)), Err(TopicError::TooLong));
    assert_eq!(validate_filter("a/b+/c"), Err(TopicError::PartOfLevel { at: 3 }));
    assert_eq!(validate_filter("++"), Err(TopicError::PartOfLevel { at: 0 }));
    assert_eq!(validate_filter("a/#/b"), Err(TopicError::NotLast { at: 2 }));
    assert_eq!(validate_filter("a/b#"), Err(TopicError::NotLast { at: 3 }));
    assert_eq!(validate_filter("#/"), Err(TopicError::NotLast { at: 0 }));
    for filter in ["#", "+", "/", "//", "+/+/#", "a/+/b", "/#", "$SYS/#"] {
        assert_eq!(validate_filter(filter), Ok(()), "{filter}");
    }
    assert_eq!(
        validate_filter("a/#/b").map_err(|error| error.to_string()),
        Err("`#` at byte 2 has to be the whole last level".into())
    );
}

#[test]
fn a_value_is_shown_once_for_each_filter_that_matches() {
    let mut tree = tree_of(&["a/b", "a/+", "a/#", "#", "+/b", "+/+", "x/#", "a"]);
    assert_eq!(found(&tree, "a/b"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(tree.insert("a/b", 0), Ok(false), "it is there");
    assert_eq!(tree.insert("a/+", 0), Ok(true));
    assert_eq!(found(&tree, "a/b"), [0, 0, 1, 2, 3, 4, 5]);
    assert_eq!(tree.len(), 9);
    assert_eq!(found(&tree, "a/+"), Vec::<u32>::new(), "not a name");
}

#[test]
fn what_is_removed_is_found_no_more_and_leaves_nothing_behind() {
    let filters = ["a/b", "a/b/c", "a/+/c", "a/#", "#", "d"];
    let mut tree = tree_of(&filters);
    assert_eq!(tree.remove("a/b", &7), None);
    assert_eq!(tree.remove("a/x", &0), None);
    assert_eq!(tree.remove("a/+", &0), None);
    assert_eq!(tree.remove("a/b", &0), Some(0));
    assert_eq!(tree.remove("a/b", &0), None);
    assert_eq!(found(&tree, "a/b/c"), [1, 2, 3, 4]);
    for (value, filter) in filters.iter().enumerate().skip(1) {
        assert_eq!(tree.remove(filter, &(value as u32)), Some(value as u32));
    }
    assert!(tree.is_empty());
    assert_eq!(tree.nodes.len(), 0);
}

#[test]
fn the_deepest_filters_and_names_need_no_more_space_than_there_is() {
    let plus = vec!["+"; MAX_LEVELS].join("/");
    let literal = vec!["a"; MAX_LEVELS].join("/");
    let mut tree = tree_of(&[&plus, &literal]);
    for depth in 1..MAX_LEVELS {
        let mut levels = vec!["a"; MAX_LEVELS];
        levels[depth] = "+";
        levels[depth - 1] = "+";
        assert_eq!(tree.insert(&levels.join("/"), 2), Ok(true));
    }
    assert_eq!(found(&tree, &literal).len(), MAX_LEVELS + 1);
}

#[test]
fn a_million_filters_are_found_at_once() {
    let mut tree = TopicTree::default();
    for device in 0..1_000_000_u32 {
        assert_eq!(tree.insert(&format!("devices/{device}/command"), device), Ok(true));
    }
    assert_eq!(tree.insert("devices/+/command", 7), Ok(true));
    assert_eq!(found(&tree, "devices/123456/command"), [7, 123_456]);
    assert_eq!(tree.nodes(), 2_000_000 + 4);
    assert!(size_of::<tree::Node<u64>>() <= 64);
}

/// A random topic of few short levels, so that many match.
fn topic(random: &mut fastrand::Rng, levels: &[&str]) -> String {
    let count = random.usize(1..6);
    let mut topic: Vec<&str> = (0..count).map(|_| levels[random.usize(..levels.len())]).collect();
    if let Some(place) = topic.iter().position(|level| *level == "#") {
        topic.truncate(place + 1);
    }
    topic.join("/")
}

#[test]
fn random_filters_are_found_as_each_of_them_matches() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut tree = TopicTree::default();
        let mut model: BTreeSet<(String, u32)> = BTreeSet::new();
        for _ in 0..300 {
            let filter = topic(&mut random, &["a", "b", "", "$c", "+", "#", "longer"]);
            let value = random.u32(..4);
            let is_valid = validate_filter(&filter).is_ok();
            if random.bool() {
                let is_new = is_valid && model.insert((filter.clone(), value));
                assert_eq!(tree.insert(&filter, value).unwrap_or(false), is_new, "seed {seed}");
            } else {
                let was_there = model.remove(&(filter.clone(), value));
                assert_eq!(tree.remove(&filter, &value).is_some(), was_there, "seed {seed}");
            }
            let name = topic(&mut random, &["a", "b", "", "$c", "longer", "other"]);
            let matching = model.iter().filter(|(filter, _)| matches(filter, &name) && !name.is_empty());
            let mut expected: Vec<u32> = matching.map(|(_, value)| *value).collect();
            expected.sort_unstable();
            assert_eq!(found(&tree, &name), expected, "seed {seed}: {name}");
            assert_eq!(tree.len(), model.len());
        }
        for (filter, value) in model {
            assert_eq!(tree.remove(&filter, &value), Some(value), "seed {seed}");
        }
        assert_eq!(tree.nodes.len(), 0, "seed {seed}");
    }
}

/// What a space adds, said without any of it: names and filters of one space are a world of their own, and the
/// beginning of a prefix is no name.
fn matches_in_its_world(filter: &str, name: &str) -> bool {
    let world = |text: &str| {
        let levels: Vec<String> = text.split('/').map(str::to_owned).collect();
        match levels.as_slice() {
            [first, space, rest @ ..] if first == "$s" => (Some(space.clone()), rest.to_vec()),
            [first] if first == "$s" => (Some(String::new()), Vec::new()),
            _ => (None, levels),
        }
    };
    let ((filter_world, wanted), (name_world, levels)) = (world(filter), world(name));
    if filter_world != name_world || wanted.is_empty() || levels.is_empty() {
        return false;
    }
    let is_reserved = levels[0].starts_with('$');
    fn fits(wanted: &[String], levels: &[String]) -> bool {
        match (wanted, levels) {
            ([last], _) if last == "#" => true,
            ([], []) => true,
            ([one, wanted @ ..], [level, levels @ ..]) => {
                (one == "+" || one == level) && fits(wanted, levels)
            }
            _ => false,
        }
    }
    fits(&wanted, &levels) && !(is_reserved && ["+", "#"].contains(&&*wanted[0]))
}

#[test]
fn a_wildcard_stands_for_names_of_its_own_space_alone() {
    for (filter, name, expected) in [
        ("#", "$s/acme/a", false),
        ("+/acme/a", "$s/acme/a", false),
        ("+/+/a", "$s/acme/a", false),
        ("$s/#", "$s/acme/a", false),
        ("$s/#", "$s", false),
        ("$s/+/a", "$s/acme/a", false),
        ("$s/+/#", "$s/acme/a", false),
        ("$s/acme/#", "$s/acme/a", true),
        ("$s/acme/#", "$s/acme", false),
        ("$s/acme/#", "$s/acme/$x", false),
        ("$s/acme/+", "$s/acme/$x", false),
        ("$s/acme/$x/#", "$s/acme/$x", true),
        ("$s/acme/#", "$s/acme2/a", false),
        ("$s/acme/#", "$s/acm/a", false),
        ("$s/acme/a/#", "$s/acme/a", true),
        ("$s/acme/a", "a", false),
        ("a", "$s/acme/a", false),
        ("$s/acme/+/b", "$s/acme/a/b", true),
        ("$s/acme/#", "$s/acme/$s/b", false),
        ("$s//$s/#", "$s/acme/b", false),
    ] {
        assert_eq!(matches(filter, name), expected, "{filter} and {name}");
        assert_eq!(matches_in_its_world(filter, name), expected, "{filter} and {name}, in the model");
        if validate_filter(filter).is_ok() {
            let in_tree = found(&tree_of(&[filter]), name).len() == 1;
            assert_eq!(in_tree, expected, "{filter} and {name}, in the tree");
        }
    }
}

#[test]
fn a_prefix_with_nothing_behind_it_is_no_name() {
    for text in ["$s", "$s/", "$s/acme", "$s/acme/", "$s/#"] {
        assert_eq!(validate_filter(text), Err(TopicError::Empty), "{text}");
        assert!(validate_name(text).is_err(), "{text}");
    }
    assert_eq!(validate_name("$sys"), Ok(()));
}

#[test]
fn random_names_and_filters_of_spaces_match_as_if_each_space_were_alone() {
    let mut random = fastrand::Rng::with_seed(11);
    let levels = ["a", "b", "", "$s", "$x", "acme"];
    let some = |random: &mut fastrand::Rng, wildcards: bool| {
        let prefix = ["", "$s/acme/", "$s/b/", "$s//", "$s/", "$s"][random.usize(..6)];
        let mut parts: Vec<&str> = (0..random.usize(..4))
            .map(|_| if wildcards && random.u8(..3) == 0 { "+" } else { levels[random.usize(..6)] })
            .collect();
        if wildcards && random.bool() {
            parts.push("#");
        }
        format!("{prefix}{}", parts.join("/"))
    };
    for round in 0..1_500 {
        let filters: Vec<String> = (0..30).map(|_| some(&mut random, true)).collect();
        let filters: Vec<&str> =
            filters.iter().map(String::as_str).filter(|filter| validate_filter(filter).is_ok()).collect();
        let mut tree = TopicTree::default();
        let mut kept = BTreeSet::new();
        for (value, filter) in filters.iter().enumerate() {
            tree.insert(filter, value as u32).expect("it is valid");
            kept.insert((*filter, value as u32));
        }
        for _ in 0..20 {
            let name = some(&mut random, false);
            if validate_name(&name).is_err() {
                continue;
            }
            let expected: Vec<u32> = (0..)
                .zip(&filters)
                .filter(|(_, filter)| matches_in_its_world(filter, &name))
                .map(|(value, _)| value)
                .collect();
            let one_by_one: Vec<u32> = (0..)
                .zip(&filters)
                .filter(|(_, filter)| matches(filter, &name))
                .map(|(value, _)| value)
                .collect();
            assert_eq!(one_by_one, expected, "round {round}: {name} of {filters:?}");
            assert_eq!(found(&tree, &name), expected, "round {round}: {name} of {filters:?}, in the tree");
        }
        for (filter, value) in kept {
            assert_eq!(tree.remove(filter, &value), Some(value), "{filter}");
        }
        assert_eq!(tree.nodes.len(), 0);
    }
}

#[test]
fn the_prefix_of_a_space_takes_none_of_the_levels_and_bytes_of_its_clients() {
    let deep = vec!["a"; MAX_LEVELS].join("/");
    let long = "a".repeat(MAX_BYTES);
    for text in [&deep, &long] {
        let inside = format!("$s/acme/{text}");
        assert_eq!((validate_name(&inside), validate_filter(&inside)), (Ok(()), Ok(())));
        let mut tree = tree_of(&[&inside]);
        assert_eq!(found(&tree, &inside), [0]);
        assert_eq!(tree.remove(&inside, &0), Some(0));
        assert!(validate_name(&format!("{inside}/a")).is_err());
    }
    assert_eq!(
        validate_filter("$s/acme/a+"),
        Err(TopicError::PartOfLevel { at: 1 }),
        "as its client wrote it"
    );
}
