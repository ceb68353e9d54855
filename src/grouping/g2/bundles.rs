//! Files that a bundler names: `index-BqX3k9Za.js` is `index.js` of one build.

use std::borrow::Cow;

/// The hashes that bundlers put into names have at least so many characters, those of Vite, Rollup, esbuild, webpack
/// and Parcel eight.
const SHORTEST: usize = 8;

/// Endings of what bundlers write.
const WRITTEN: [&str; 11] = ["js", "mjs", "cjs", "jsx", "ts", "tsx", "css", "vue", "wasm", "jsbundle", "bundle"];

/// The last part of a path without hashes and numbers of chunks.
pub(super) fn without_hashes(name: &str) -> Cow<'_, str> {
    let parts: Vec<&str> = name.split('.').collect();
    let is_written = parts.last().is_some_and(|ending| WRITTEN.contains(ending));
    if !is_written {
        return hex_only(name);
    }
    let ending = parts.len() - 1;
    let mut kept = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        if index == ending {
            kept.push(*part);
        } else if index == 0 && ending > 0 && part.bytes().all(|byte| byte.is_ascii_digit()) {
            // webpack's number of a chunk.
        } else if !(looks_random(part) || index > 0 && *part == "_") {
            let stem = without_suffix(part);
            if !stem.is_empty() {
                kept.push(stem);
            }
        }
    }
    if kept.len() == 1 {
        // Only the ending is left: a chunk that has no name.
        return Cow::Owned(format!("chunk.{}", kept[0]));
    }
    let joined = kept.join(".");
    if joined == name { Cow::Borrowed(name) } else { Cow::Owned(joined) }
}

/// A module that an SDK names by its file, which has no ending then.
pub(super) fn without_hash(module: &str) -> Cow<'_, str> {
    let (path, name) = module.split_at(module.rfind(['/', ':']).map_or(0, |at| at + 1));
    match without_hashes(&format!("{name}.js")).strip_suffix(".js") {
        Some(stem) if stem != name => Cow::Owned(format!("{path}{stem}")),
        _ => Cow::Borrowed(module),
    }
}

/// `index` of `index-BqX3k9Za`, and of `src_cart_3f2a91`, as Turbopack writes it.
fn without_suffix(part: &str) -> &str {
    // A hash of eight may have hyphens and underscores of its own.
    if part.is_ascii() && part.len() > SHORTEST {
        let (stem, hash) = part.split_at(part.len() - SHORTEST);
        if stem.ends_with(['-', '_', '~', '.']) && looks_random(hash) {
            return stem.trim_end_matches(['-', '_', '~']);
        }
    }
    let Some((stem, hash)) = part.rsplit_once(['-', '_', '~']) else { return part };
    let is_short_hex = hash.len() >= 6
        && is_hex(hash)
        && hash.bytes().any(|byte| byte.is_ascii_digit())
        && hash.bytes().any(|byte| byte.is_ascii_alphabetic());
    if is_short_hex || looks_random(hash) { stem.trim_end_matches(['-', '_', '~']) } else { part }
}

/// In files of other languages only a hash in hex.
fn hex_only(name: &str) -> Cow<'_, str> {
    let mut kept = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find(['.', '-', '_']) {
        let (before, after) = rest.split_at(at);
        let length = after[1..].bytes().take_while(u8::is_ascii_alphanumeric).count();
        let word = &after[1..=length];
        kept.push_str(before);
        if !(length >= SHORTEST && is_hex(word) && word.bytes().any(|byte| byte.is_ascii_digit())) {
            kept.push_str(&after[..=length]);
        }
        rest = &after[length + 1..];
    }
    if kept.len() + rest.len() == name.len() {
        return Cow::Borrowed(name);
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Whether nobody would choose the text for a name: digits among letters, capitals where no word begins.
fn looks_random(text: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let has_separators = text.contains(['-', '_']);
    if text.len() < SHORTEST || has_separators && text.len() > SHORTEST || !text.bytes().all(is_base64) {
        return false;
    }
    if is_hex(text) {
        return text.bytes().any(|byte| byte.is_ascii_digit());
    }
    // What esbuild writes: capitals and the digits 2 to 7.
    let has = |is: fn(&u8) -> bool| text.bytes().any(|byte| is(&byte));
    if !has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit) && text.len() == SHORTEST {
        return !has_separators;
    }
    let words = text.split(['-', '_']);
    let is_named = |word: &str| word.is_empty() || is_words(word);
    if !has_separators {
        return !is_words(text);
    }
    // Of several words each has to look odd, or their letters have to be mixed.
    let has_odd_word = words.clone().any(|word| word.len() > 1 && !is_words(word));
    has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && !words.clone().all(is_named)
        && (has(u8::is_ascii_digit) || has_odd_word)
}

/// `settings`, `userList`, `Section2`, `HTTPClient`: words with a capital in front, and a number at the end.
fn is_words(text: &str) -> bool {
    let letters = text.trim_end_matches(|character: char| character.is_ascii_digit());
    if text.len() - letters.len() > 3 || letters.is_empty() {
        return letters.is_empty();
    }
    if !letters.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return false;
    }
    if letters.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return true;
    }
    // Every run of small letters after a capital has at least two of them.
    let mut small = usize::MAX;
    for byte in letters.bytes() {
        if byte.is_ascii_uppercase() {
            if small == 1 {
                return false;
            }
            small = 0;
        } else {
            small = small.saturating_add(1);
        }
    }
    small != 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_go_and_words_stay() {
        for (name, expected) in [
            ("index-BqX3k9Za.js", "index.js"),
            ("vendor.Qm_4Xz-1.js", "vendor.js"),
            ("vendor.Bq-XkZa_.js", "vendor.js"),
            ("chunk-QXZ3ABCD.js", "chunk.js"),
            ("main.3f2a91bc77.chunk.js", "main.chunk.js"),
            ("app.d41d8cd98f00b204e980.min.js", "app.min.js"),
            ("42.3f2a91bc.chunk.js", "chunk.js"),
            ("4711.js", "chunk.js"),
            ("src_app_cart_3f2a91._.js", "src_app_cart.js"),
            ("index.js", "index.js"),
            ("cart-settings.js", "cart-settings.js"),
            ("cart-userList.js", "cart-userList.js"),
            ("cart-Checkout.js", "cart-Checkout.js"),
            ("cart-Section2.js", "cart-Section2.js"),
            ("foo-cart-v2x.js", "foo-cart-v2x.js"),
            ("my-Cart-view.js", "my-Cart-view.js"),
            ("app_2024.js", "app_2024.js"),
            ("jquery-3.6.0.min.js", "jquery-3.6.0.min.js"),
            ("index.es2015.js", "index.es2015.js"),
            ("cart_3f2a91bc77.py", "cart.py"),
            ("my-facadehouse.py", "my-facadehouse.py"),
            ("cart-BqX3k9Za.py", "cart-BqX3k9Za.py"),
            ("größe-BqX3k9Za.js", "größe.js"),
            (".js", "chunk.js"),
            ("js", "chunk.js"),
        ] {
            assert_eq!(without_hashes(name), expected, "{name}");
        }
    }
}
