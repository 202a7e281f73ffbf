//! Every action with its usual keys and its words.

mod everywhere;
mod places;

use super::actions::{Action, Binding, Scope};

/// Every action. The order is that of the help.
pub(crate) fn bindings() -> impl Iterator<Item = &'static Binding> {
    places::BINDINGS.iter().chain(everywhere::BINDINGS)
}

const fn binding(
    scope: Scope,
    action: Action,
    name: &'static str,
    keys: &'static [&'static str],
    help: &'static str,
) -> Binding {
    Binding {
        action,
        name,
        keys,
        help,
        scope,
    }
}
