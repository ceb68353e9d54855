//! Names of functions of C++, Rust and Swift without the types that they were made for.

/// `a::b` of `a::b<int>(char const*) const`. What stands in front of `::` in Rust says whose function it is, and stays:
/// `<A as Handler>::handle`. So does the sign of an operator, and a method of Objective-C.
pub(super) fn without_parameters(name: &str) -> String {
    if name.starts_with("-[") || name.starts_with("+[") {
        return name.to_owned();
    }
    let name = name
        .replace("(anonymous namespace)", "anonymous namespace")
        .replace("`anonymous namespace'", "anonymous namespace");
    let (head, operator) = split_operator(&name);
    let bare = bare(head);
    let whole = match operator {
        Some((sign, _)) => format!("{}{sign}", bare.as_deref().unwrap_or(head)),
        None => bare.unwrap_or_default(),
    };
    let whole = whole.replace("::::", "::");
    let whole = whole.trim().trim_end_matches(" const").trim_end_matches("::").trim();
    if whole.is_empty() { name } else { whole.to_owned() }
}

/// `Cart::` and `operator+` of `Cart::operator+(Cart const&)`. A name with the word in it, as `handle_operator`, is none.
fn split_operator(name: &str) -> (&str, Option<(&str, &str)>) {
    const WORD: &str = "operator";
    for (at, _) in name.match_indices(WORD) {
        let is_word = !name[..at].ends_with(|character: char| character.is_alphanumeric() || character == '_');
        let rest = &name[at + WORD.len()..];
        let length = match rest.as_bytes() {
            [b'(', b')', ..] | [b'[', b']', ..] => 2,
            // A conversion, `new` or `delete`: a name, up to its parameters.
            [b' ', b'a'..=b'z' | b'A'..=b'Z' | b'_', ..] | [b'"', b'"', ..] => {
                rest.find(['<', '(']).unwrap_or(rest.len())
            }
            _ => signs(rest),
        };
        if is_word && length > 0 {
            let (sign, rest) = name[at..].split_at(WORD.len() + length);
            return (&name[..at], Some((sign, rest)));
        }
    }
    (name, None)
}

/// How many bytes of an operator's sign `rest` begins with. `<` may also begin the types that it was made for.
fn signs(rest: &str) -> usize {
    const SIGNS: [&str; 38] = [
        "->*", "<=>", "<<=", ">>=", "->", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "++", "--", "+=", "-=", "*=",
        "/=", "%=", "^=", "&=", "|=", "<", ">", "=", "!", "+", "-", "*", "/", "%", "^", "&", "|", "~", ",", "()",
    ];
    SIGNS.iter().find(|sign| rest.starts_with(**sign)).map_or(0, |sign| sign.len())
}

/// What stands outside of brackets; `None` if they do not fit each other.
fn bare(name: &str) -> Option<String> {
    let bytes = name.as_bytes();
    let (mut bare, mut open, mut position) = (String::with_capacity(name.len()), Vec::new(), 0);
    while let Some(character) = name[position..].chars().next() {
        match character {
            '<' if open.is_empty() && says_whose(&bare, &name[position..]) => {
                let length = closing(&name[position..])?;
                let inner = &name[position + 1..position + length];
                // Of each type only what it is called.
                let inner: Vec<String> = inner.split(" as ").map(|part| self::bare(part).unwrap_or_default()).collect();
                bare.push('<');
                bare.push_str(inner.join(" as ").trim());
                bare.push('>');
                position += length;
            }
            // No bracket but the arrow of a type.
            '>' if position > 0 && bytes[position - 1] == b'-' && !open.is_empty() => {}
            '<' | '(' => open.push(character),
            '>' | ')' if !open.is_empty() => {
                open.pop();
            }
            _ if open.is_empty() => bare.push(character),
            _ => {}
        }
        position += name[position..].chars().next().map_or(1, char::len_utf8);
    }
    open.is_empty().then_some(bare)
}

/// Whether a bracket holds whose function follows, and no types: at the start, and behind a path for an `impl`.
fn says_whose(before: &str, rest: &str) -> bool {
    let Some(length) = closing(rest) else { return false };
    let (inner, follows) = (&rest[1..length], &rest[length + 1..]);
    follows.starts_with("::")
        && (before.is_empty() || before.ends_with("::") && (inner.starts_with("impl ") || inner.contains(" as ")))
}

/// Where the bracket ends that the text begins with.
fn closing(text: &str) -> Option<usize> {
    let (mut open, mut before) = (0_usize, ' ');
    for (position, character) in text.char_indices() {
        match character {
            '<' => open += 1,
            '>' if before != '-' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(position);
        }
        before = character;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_go_and_owners_stay() {
        for (name, expected) in [
            ("std::vector<std::pair<int, char>>::at(unsigned long) const", "std::vector::at"),
            ("(anonymous namespace)::run(int)", "anonymous namespace::run"),
            ("<A as Handler>::handle", "<A as Handler>::handle"),
            ("<shop::A<i32> as shop::Handler<u8>>::handle", "<shop::A as shop::Handler>::handle"),
            ("shop::<impl shop::Handler for shop::A>::handle", "shop::<impl shop::Handler for shop::A>::handle"),
            ("shop::total::<alloc::vec::Vec<i32>>", "shop::total"),
            ("alloc::vec::Vec<T>::push", "alloc::vec::Vec::push"),
            ("Vec::<i32>::push", "Vec::push"),
            ("<F as FnOnce<(A,)>>::call_once", "<F as FnOnce>::call_once"),
            ("<fn(A) -> B as Handler>::handle", "<fn -> B as Handler>::handle"),
            ("Cart::operator()(int)", "Cart::operator()"),
            ("Cart::operator+(Cart const&)", "Cart::operator+"),
            ("bool shop::operator< <int>(A<int> const&, B const&)", "bool shop::operator<"),
            ("std::operator<<<char>(std::ostream&)", "std::operator<<"),
            ("Cart::operator->()", "Cart::operator->"),
            ("Cart::operator[](int)", "Cart::operator[]"),
            ("Cart::operator bool() const", "Cart::operator bool"),
            ("operator new(unsigned long)", "operator new"),
            ("shop<int>::handle_operator(int)", "shop::handle_operator"),
            ("operators::run(int)", "operators::run"),
            ("kube::operator::reconcile<A>(B)", "kube::operator::reconcile"),
            ("-[Cart add:(id)]", "-[Cart add:(id)]"),
            ("a<b", "a<b"),
            ("größe<ü>(ä)", "größe"),
        ] {
            assert_eq!(without_parameters(name), expected, "{name}");
        }
    }
}
