//! The style sheet, the script and the icon, built into the binary. Their names carry a hash of their content, so
//! browsers may keep them for ever and a new version of the console is seen at once.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use crate::dsn::hex;

/// A file that `static/` holds.
#[derive(Debug)]
pub struct Asset {
    /// `console.3f2a9c1b04d5.css`
    pub name: String,
    pub content_type: &'static str,
    pub content: &'static [u8],
}

pub static STYLESHEET: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "css", "text/css; charset=utf-8", include_bytes!("../../static/console.css"))
});

pub static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "js", "text/javascript; charset=utf-8", include_bytes!("../../static/console.js"))
});

pub static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_bytes!("../../static/icon.svg")));

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, content: &'static [u8]) -> Self {
        let hash = hex(&Sha256::digest(content));
        Self { name: format!("{stem}.{}.{extension}", &hash[..12]), content_type, content }
    }
}

/// The asset of that name; a name of another version is none.
#[must_use]
pub fn find(name: &str) -> Option<&'static Asset> {
    [&STYLESHEET, &SCRIPT, &ICON].into_iter().map(|asset| &**asset).find(|asset| asset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_hash_of_the_content() {
        let name = &STYLESHEET.name;
        assert_eq!(name.len(), "console.0123456789ab.css".len(), "{name}");
        assert!(find(name).is_some());
        assert!(find("console.css").is_none());
        assert!(find("console.0123456789ab.css").is_none());
    }

    /// What the Content-Security-Policy would block must not be asked for.
    #[test]
    fn the_style_sheet_loads_nothing() {
        let css = std::str::from_utf8(STYLESHEET.content).unwrap();
        assert!(!css.contains("url(") && !css.contains("@import"));
    }
}
