//! The name of the host in an event that is not kept: read off the tokens, whatever else is wrong with the JSON.

use crate::protocol::json::{after_blanks, string_end, value_end};

/// The text of the first `server_name` of the outermost object, unbounded and as it was sent.
#[must_use]
pub fn server_name(json: &[u8]) -> Option<String> {
    let mut position = after_blanks(json, 0);
    while let Some(b'{' | b',') = json.get(position) {
        let name = after_blanks(json, position + 1);
        if json.get(name) != Some(&b'"') {
            return None;
        }
        let name_end = string_end(json, name)?;
        let colon = after_blanks(json, name_end);
        if json.get(colon) != Some(&b':') {
            return None;
        }
        let value = after_blanks(json, colon + 1);
        let end = value_end(json, value)?;
        if json.get(name..name_end) == Some(br#""server_name""#.as_slice()) {
            return serde_json::from_slice(json.get(value..end)?).ok();
        }
        position = after_blanks(json, end);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_found_beside_whatever_else_is_there() {
        for (json, found) in [
            (r#"{"server_name":"web-1"}"#, Some("web-1")),
            (r#" { "message" : "a\"b" , "server_name" : "wéb\u002d1" }"#, Some("wéb-1")),
            (r#"{"a":{"server_name":"inner"},"b":[1,{"server_name":"x"}],"server_name":"outer"}"#, Some("outer")),
            (r#"{"number":NaN,"broken":"\ud800","server_name":"web-1","cut":"#, Some("web-1")),
            (r#"{"server_name":"first","server_name":"second"}"#, Some("first")),
            (r#"{"server_name":7}"#, None),
            (r#"{"server_name":null}"#, None),
            (r#"{"server_name":"cut"#, None),
            (r#"{"server_name"}"#, None),
            (r#"{"x":"server_name"}"#, None),
            (r#"["server_name","web-1"]"#, None),
            ("{", None),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(server_name(json.as_bytes()).as_deref(), found, "{json}");
        }
        assert_eq!(server_name(&vec![b'{'; 1 << 20]), None);
        assert_eq!(server_name(&b"{\"a\":[".repeat(1 << 17)), None);
    }
}
