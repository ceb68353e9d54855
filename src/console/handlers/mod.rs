//! One file a page, each with what its request says: it asks the store within one snapshot and fills the page in.
//! Every handler gets a [`Context`](super::context::Context), which holds the caller. `routes` names them.

pub mod act;
pub mod asset;
pub mod event;
pub mod issue;
pub mod issues;
pub mod keys;
pub mod project;
pub mod projects;
pub mod sign_in;

/// Whether a place is one of the console's own pages: relative, and not upwards.
fn leads_here(to: &str) -> bool {
    to.len() <= 2048
        && !to.starts_with('/')
        && !to.contains(['\\', ':'])
        && to.bytes().all(|byte| byte.is_ascii_graphic())
        && !to.split(['?', '#']).next().unwrap_or_default().split('/').any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_go_on_to_our_own_pages_only() {
        for (to, ours) in [
            ("", true),
            ("web/shop/issues/12", true),
            ("web/shop/issues?status=resolved&page=2", true),
            ("web/shop/issues?query=a%3Ab..", true),
            ("/web/shop", false),
            ("//attacker.example", false),
            ("https://attacker.example", false),
            ("javascript:alert(1)", false),
            (r"\\attacker.example", false),
            ("../../attacker", false),
            ("web/../..", false),
            ("web/shop\r\nSet-Cookie: a=b", false),
            ("web/shöp", false),
        ] {
            assert_eq!(leads_here(to), ours, "{to:?}");
        }
    }
}
