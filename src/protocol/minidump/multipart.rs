//! `multipart/form-data` (RFC 7578): fields and files between boundaries. Parts are slices of the body.

use bytes::Bytes;
use memchr::memmem;

/// More parts than this are refused; a crash comes with a handful.
const MAX_PARTS: usize = 100;

/// Longest headers of a part in bytes.
const MAX_HEADER_BYTES: usize = 8 << 10;

/// Longest boundary (RFC 2046, 5.1.1).
const MAX_BOUNDARY_CHARS: usize = 70;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) body: Bytes,
}

/// Why a form could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    #[error("no boundary found")]
    NoBoundary,
    #[error("a part has no end")]
    UnexpectedEnd,
    #[error("a part has no readable headers")]
    InvalidHeaders,
    #[error("too many parts")]
    TooManyParts,
}

/// The boundary that a `Content-Type` names; none if the body is no form.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (media_type, parameters) = content_type.split_once(';')?;
    let boundary =
        parameter(parameters, "boundary").filter(|_| media_type.trim().eq_ignore_ascii_case("multipart/form-data"))?;
    (1..=MAX_BOUNDARY_CHARS).contains(&boundary.len()).then_some(boundary)
}

/// The parts of a form, in their order.
pub(super) fn parse(boundary: &str, body: &Bytes) -> Result<Vec<Part>, MultipartError> {
    let delimiter = format!("\r\n--{boundary}");
    let finder = memmem::Finder::new(delimiter.as_bytes());
    // The first boundary may begin the body, without its line break.
    let mut rest = match body.strip_prefix(&delimiter.as_bytes()[2..]).and_then(Delimiter::of) {
        Some(first) => first,
        None => next(&finder, body, 0).ok_or(MultipartError::NoBoundary)?.1,
    };
    let mut parts = Vec::new();
    while let Delimiter::Part(start_of) = rest {
        if parts.len() == MAX_PARTS {
            return Err(MultipartError::TooManyParts);
        }
        let start = body.len() - start_of.len();
        // A part may have no body but must have headers, whose blank line the delimiter's break can be.
        let header_end = memmem::find(start_of, b"\r\n\r\n").filter(|end| *end <= MAX_HEADER_BYTES);
        let header_end = header_end.ok_or(MultipartError::InvalidHeaders)?;
        let name = name(&start_of[..header_end]).ok_or(MultipartError::InvalidHeaders)?;
        let (end, following) = next(&finder, body, start + header_end + 2).ok_or(MultipartError::UnexpectedEnd)?;
        parts.push(Part { name, body: body.slice((start + header_end + 4).min(end)..end) });
        rest = following;
    }
    Ok(parts)
}

/// What follows a boundary.
enum Delimiter<'a> {
    /// Another part begins here.
    Part(&'a [u8]),
    End,
}

impl<'a> Delimiter<'a> {
    /// None if the boundary is only the beginning of a longer word.
    fn of(rest: &'a [u8]) -> Option<Self> {
        if rest.starts_with(b"--") {
            return Some(Self::End);
        }
        let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        rest[padding..].strip_prefix(b"\r\n").map(Self::Part)
    }
}

/// The next boundary from `from`: where its line break stands, and what follows.
fn next<'a>(finder: &memmem::Finder<'_>, body: &'a [u8], mut from: usize) -> Option<(usize, Delimiter<'a>)> {
    loop {
        let found = from + finder.find(body.get(from..)?)?;
        let behind = found + finder.needle().len();
        match Delimiter::of(&body[behind..]) {
            Some(delimiter) => return Some((found, delimiter)),
            None => from = behind,
        }
    }
}

/// The `name` that a part's `Content-Disposition` gives it.
fn name(headers: &[u8]) -> Option<String> {
    let headers = String::from_utf8_lossy(headers);
    let disposition = headers.split("\r\n").find_map(|header| {
        let (name, value) = header.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let (kind, parameters) = disposition.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    parameter(parameters, "name")
}

/// One of `a=b; c="d"`; quoted text may hold semicolons and escaped quotes.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, behind) = if let Some(quoted) = after.strip_prefix('"') {
            unquoted(quoted)?
        } else {
            let end = after.find(';').unwrap_or(after.len());
            (after[..end].trim().to_owned(), &after[end..])
        };
        if name.trim_start_matches([';', ' ', '\t']).trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = behind;
    }
}

/// The text up to the closing quote, and what stands behind it.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut characters = quoted.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return Some((text, &quoted[position + 1..])),
            // Only quotes and backslashes are escaped: browsers of Windows sent whole paths.
            '\\' if quoted[position + 1..].starts_with(['"', '\\']) => {
                text.extend(characters.next().map(|(_, escaped)| escaped));
            }
            other => text.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(body: &str) -> Result<Vec<(String, String)>, MultipartError> {
        let parts = parse("b", &Bytes::copy_from_slice(body.as_bytes()))?;
        Ok(parts.into_iter().map(|part| (part.name, String::from_utf8_lossy(&part.body).into_owned())).collect())
    }

    #[test]
    fn the_boundary_is_read() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("Multipart/Form-Data; charset=utf-8; Boundary=\"a;b\\\"c\" ; x=y", Some("a;b\"c")),
            ("multipart/form-data;boundary=abc;x=y", Some("abc")),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data", None),
            ("multipart/mixed; boundary=abc", None),
            ("application/octet-stream", None),
            ("multipart/form-data; boundary=\"abc", None),
        ] {
            assert_eq!(boundary(content_type).as_deref(), expected, "{content_type}");
        }
        assert_eq!(boundary(&format!("multipart/form-data; boundary={}", "b".repeat(71))), None);
    }

    #[test]
    fn parts_are_cut_to_the_byte() {
        let field = |name: &str, body: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{body}\r\n")
        };
        for (body, expected) in [
            (format!("{}--b--\r\n", field("a", "1")), vec![("a", "1")]),
            (format!("{}{}--b--", field("a", "1"), field("c", "\r\n")), vec![("a", "1"), ("c", "\r\n")]),
            (format!("preamble\r\n{}--b-- epilogue", field("a", "")), vec![("a", "")]),
            (format!("{}--b--", field("a", "x\r\n--bb\r\ny--b")), vec![("a", "x\r\n--bb\r\ny--b")]),
            ("--b \t\r\ncontent-type: x\r\nCONTENT-disposition: form-data; filename=\"n;ame=\"; name=a\r\n\r\n1\r\n--b--".into(), vec![("a", "1")]),
            ("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n--b--".into(), vec![("a", "")]),
            ("--b--".into(), vec![]),
        ] {
            let expected: Vec<_> = expected.iter().map(|(name, body)| ((*name).to_owned(), (*body).to_owned())).collect();
            assert_eq!(parts(&body), Ok(expected), "{body:?}");
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        use MultipartError::{InvalidHeaders, NoBoundary, TooManyParts, UnexpectedEnd};
        let part = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n";
        for (body, error) in [
            (String::new(), NoBoundary),
            ("nothing".into(), NoBoundary),
            ("--bb\r\n".into(), NoBoundary),
            (part.into(), UnexpectedEnd),
            ("--b\r\n\r\n1\r\n--b--".into(), InvalidHeaders),
            ("--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--".into(), InvalidHeaders),
            ("--b\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--b--".into(), InvalidHeaders),
            (format!("--b\r\nX: {}\r\n\r\n1\r\n--b--", "x".repeat(9000)), InvalidHeaders),
            (format!("{}--b--", part.repeat(MAX_PARTS + 1)), TooManyParts),
        ] {
            assert_eq!(parts(&body), Err(error), "{body:?}");
        }
        assert_eq!(parts(&format!("{}--b--", part.repeat(MAX_PARTS))).unwrap().len(), MAX_PARTS);
    }

    #[test]
    fn a_dump_is_not_copied() {
        let body = Bytes::from_static(b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nMDMP\r\n--b--");
        let parts = parse("b", &body).unwrap();
        assert!(body.as_ptr_range().contains(&parts[0].body.as_ptr()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_or_refused(body: Vec<u8>, text in "((\r\n)?--b(\r\n|--)?|Content-Disposition: form-data; name=a|\r\n\r\n|[a-z=;\"]{1,3}){0,12}") {
            let _ = parse("b", &body.into());
            let _ = parse("b", &Bytes::from(text.clone()));
            let _ = boundary(&text);
        }

        #[test]
        fn what_was_put_in_comes_out(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..5)) {
            let mut form = Vec::new();
            for body in &bodies {
                form.extend(b"--long boundary\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n");
                form.extend(body);
                form.extend(b"\r\n");
            }
            form.extend(b"--long boundary--\r\n");
            let found: Vec<Vec<u8>> = parse("long boundary", &form.into()).unwrap().iter().map(|part| part.body.to_vec()).collect();
            prop_assert_eq!(found, bodies);
        }
    }
}
