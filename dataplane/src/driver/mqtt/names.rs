//! Names of a client's space, as they are called inside the fleet.

use std::borrow::Cow;

use mq_model::space::{DEFAULT_SPACE, SPACE_PREFIX, qualified, split_qualified};

/// What a name inside the fleet is called in its space.
pub(super) fn outside(name: &str) -> &str {
    split_qualified(name).1
}

/// Room for a name inside the fleet, so that a message needs no memory for that.
#[derive(Debug, Default)]
pub(super) struct Room(String);

impl Room {
    /// What a name of a space is called inside the fleet: what [`qualified`] says.
    pub(super) fn inside<'a>(&'a mut self, space: &str, name: &'a str) -> &'a str {
        if space == DEFAULT_SPACE {
            match qualified(space, name) {
                Cow::Borrowed(name) => return name,
                // No client of today's has such names.
                Cow::Owned(inside) => self.0 = inside,
            }
        } else {
            self.0.clear();
            for part in [SPACE_PREFIX, space, "/", name] {
                self.0.push_str(part);
            }
        }
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_same_name_inside_whichever_way_it_is_made() {
        let mut room = Room::default();
        for space in [DEFAULT_SPACE, "acme", "b"] {
            for name in ["a/b", "", "$x", "$s/acme/a", "$s", "longer/than/the/last/one", "/"] {
                let inside = qualified(space, name).into_owned();
                assert_eq!(room.inside(space, name), inside);
                assert_eq!(outside(&inside), name);
            }
        }
    }
}
