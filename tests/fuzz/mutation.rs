//! Inputs that are almost right: a seed with a few changes, as a bad network, a bad client or a bad person makes them.
//! Bytes alone would seldom get past the first bracket, so most changes know what JSON looks like.

use std::fmt;

use bolero::{Driver, ValueGenerator};

use crate::dictionary::{NAMES, TOKENS, VALUES};

/// Longest input in bytes but for the few that are to be too large for everything.
const MAX_BYTES: usize = 200 << 10;

/// bolero's own formatting of bytes is long, and inputs that fail are kept in files.
pub struct Input(pub Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.0.get(..400).unwrap_or(&self.0);
        write!(formatter, "{} bytes: {}", self.0.len(), start.escape_ascii())
    }
}

pub struct Mutations {
    seeds: Vec<Vec<u8>>,
}

impl Mutations {
    pub fn of(mut seeds: Vec<Vec<u8>>) -> Self {
        // Small ones, which take less time, stand first and are chosen more often.
        seeds.sort_by_key(Vec::len);
        Self { seeds }
    }
}

impl ValueGenerator for Mutations {
    type Output = Input;

    fn generate<D: Driver>(&self, driver: &mut D) -> Option<Input> {
        let mut dice = Dice(driver);
        let mut input = if dice.once_in(24) { soup(&mut dice) } else { self.seed(&mut dice).to_vec() };
        let changes = if dice.once_in(8) { dice.below(30) } else { dice.below(5) };
        for _ in 0..changes {
            self.change(&mut input, &mut dice);
            input.truncate(MAX_BYTES);
        }
        if dice.once_in(2000) {
            let at = dice.below(input.len() + 1);
            insert(&mut input, at, &vec![*dice.pick(b"a 0[\"\n\\\xff"); 1_100_000]);
        }
        Some(Input(input))
    }
}

impl Mutations {
    fn seed<D: Driver>(&self, dice: &mut Dice<'_, D>) -> &[u8] {
        let (a, b) = (dice.below(self.seeds.len()), dice.below(self.seeds.len()));
        self.seeds.get(a.min(b)).map_or(&[], Vec::as_slice)
    }

    fn change<D: Driver>(&self, input: &mut Vec<u8>, dice: &mut Dice<'_, D>) {
        let at = dice.below(input.len() + 1);
        let length = dice.length();
        let end = at.saturating_add(length).min(input.len());
        match dice.below(17) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
            1 => {
                let byte = dice.byte();
                insert(input, at, &[byte]);
            }
            2 => drop(input.drain(at..end)),
            3 => {
                let piece = input[at..end].to_vec();
                let times = dice.times();
                let times = times.min(MAX_BYTES / piece.len().max(1)).max(1);
                insert(input, at, &piece.repeat(times));
            }
            4 => input.truncate(at),
            5 => {
                let other = self.seed(dice);
                let from = dice.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            6 => insert(input, at, dice.pick::<&[u8]>(TOKENS)),
            7 => replace_word(input, at, dice.pick::<&[u8]>(TOKENS)),
            8 => replace_word(input, at, dice.pick(NAMES).as_bytes()),
            9 => replace_digits(input, at, dice.pick(VALUES).as_bytes()),
            10 => nest(input, at, dice),
            11 => repeat_lines(input, at, dice),
            _ => change_member(input, at, dice),
        }
    }
}

/// Changes the value of the next member of an object.
fn change_member<D: Driver>(input: &mut Vec<u8>, at: usize, dice: &mut Dice<'_, D>) {
    let Some(member) = Member::after(input, at) else { return insert(input, at, dice.pick::<&[u8]>(TOKENS)) };
    let Member { name, value, end } = member;
    let old = input[value..end].to_vec();
    let new = match dice.below(9) {
        0..3 => dice.pick(VALUES).as_bytes().to_vec(),
        3 => [b"[", old.as_slice(), b"]"].concat(),
        4 => [b"{\"", dice.pick(NAMES).as_bytes(), b"\":", &old, b"}"].concat(),
        5 => serde_json::Value::from(String::from_utf8_lossy(&old)).to_string().into_bytes(),
        6 => {
            // As long as what is kept of a text, or a little longer, with characters of more than one byte.
            let (start, fill) = (dice.pick(&["", "a", "\\n"]), dice.pick(&["a", "ü", "€", "😀", "1", "\\u0000", " a"]));
            format!("\"{start}{}\"", fill.repeat(dice.around_a_limit())).into_bytes()
        }
        7 => {
            let times = dice.around_a_limit().min(MAX_BYTES / (old.len() + 1)).max(1);
            [b"[", vec![old.as_slice(); times].join(b",".as_slice()).as_slice(), b"]"].concat()
        }
        // The same name twice, with two values.
        _ => [&old, b",".as_slice(), &input[name..value], dice.pick(VALUES).as_bytes()].concat(),
    };
    input.splice(value..end, new);
}

/// A member of an object: where its name and its value begin, and where it ends.
struct Member {
    name: usize,
    value: usize,
    end: usize,
}

impl Member {
    /// The first one whose colon stands at `at` or behind.
    fn after(input: &[u8], at: usize) -> Option<Self> {
        let colon = at + input.get(at..)?.windows(2).position(|pair| pair == b"\":")? + 1;
        let name = input[..colon - 1].iter().rposition(|byte| *byte == b'"')?;
        let blanks = input[colon + 1..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let value = colon + 1 + blanks;
        Some(Self { name, value, end: end_of_value(input, value) })
    }
}

fn end_of_value(input: &[u8], start: usize) -> usize {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (position, byte) in input.iter().enumerate().skip(start) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => {
                in_string = !in_string;
                if !in_string && depth == 0 {
                    return position + 1;
                }
            }
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return position,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return position + 1;
                }
            }
            _ => {}
        }
    }
    input.len()
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

/// Puts something else in the place of the word or number that stands at `at`.
fn replace_word(input: &mut Vec<u8>, at: usize, new: &[u8]) {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    replace_run(input, at, is_word, new);
}

/// Lengths and counts that lie.
fn replace_digits(input: &mut Vec<u8>, at: usize, new: &[u8]) {
    replace_run(input, at, u8::is_ascii_digit, new);
}

fn replace_run(input: &mut Vec<u8>, at: usize, belongs: impl Fn(&u8) -> bool, new: &[u8]) {
    let Some(inside) = input.iter().skip(at).position(&belongs).map(|offset| at + offset) else { return };
    let start = input[..inside].iter().rposition(|byte| !belongs(byte)).map_or(0, |before| before + 1);
    let end = inside + input[inside..].iter().take_while(|byte| belongs(byte)).count();
    input.splice(start..end, new.iter().copied());
}

/// A line or two again and again: items of envelopes, parts of forms.
fn repeat_lines<D: Driver>(input: &mut Vec<u8>, at: usize, dice: &mut Dice<'_, D>) {
    let start = input[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
    let lines = dice.below(3) + 1;
    let mut breaks = input.iter().enumerate().skip(start).filter(|(_, byte)| **byte == b'\n');
    let end = breaks.nth(lines - 1).map_or(input.len(), |(position, _)| position + 1);
    let piece = input[start..end].to_vec();
    let times = dice.around_a_limit().min(MAX_BYTES / piece.len().max(1)).max(1);
    insert(input, start, &piece.repeat(times));
}

/// Brackets in brackets: around and beyond what parsers allow.
fn nest<D: Driver>(input: &mut Vec<u8>, at: usize, dice: &mut Dice<'_, D>) {
    let (open, close) =
        *dice.pick(&[("[", "]"), ("{\"a\":", "}"), ("[{\"values\":", "}]"), ("\"[", "]\""), ("{\"data\":[", "]}")]);
    let depth = *dice.pick(&[1, 5, 30, 31, 32, 33, 63, 64, 65, 100, 126, 127, 128, 129, 130, 255, 256, 1000, 10_000]);
    let inner = dice.pick(VALUES);
    let closed = if dice.once_in(3) { dice.below(depth + 1) } else { depth };
    let nested = [open.repeat(depth).as_str(), inner, &close.repeat(closed)].concat();
    match Member::after(input, at) {
        Some(member) if !dice.once_in(4) => drop(input.splice(member.value..member.end, nested.into_bytes())),
        _ => insert(input, at, nested.as_bytes()),
    }
}

/// Tokens in any order.
fn soup<D: Driver>(dice: &mut Dice<'_, D>) -> Vec<u8> {
    let mut input = Vec::new();
    for _ in 0..dice.below(60) {
        match dice.below(4) {
            0 => input.extend_from_slice(dice.pick(VALUES).as_bytes()),
            1 => input.extend_from_slice(format!("\"{}\":", dice.pick(NAMES)).as_bytes()),
            _ => input.extend_from_slice(dice.pick::<&[u8]>(TOKENS)),
        }
    }
    input
}

/// Small choices out of bolero's bytes; when there are no more, the first of everything.
struct Dice<'a, D>(&'a mut D);

impl<D: Driver> Dice<'_, D> {
    fn below(&mut self, bound: usize) -> usize {
        let number = self.0.produce::<u32>().unwrap_or_default();
        usize::try_from(number).unwrap_or_default() % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.0.produce::<u8>().unwrap_or_default()
    }

    fn once_in(&mut self, bound: usize) -> bool {
        self.below(bound) == bound - 1
    }

    fn pick<'t, T>(&mut self, choices: &'t [T]) -> &'t T {
        &choices[self.below(choices.len())]
    }

    /// Of a piece: mostly short.
    fn length(&mut self) -> usize {
        let bound = *[4, 4, 4, 40, 40, 1000].get(self.below(6)).unwrap_or(&4);
        self.below(bound) + 1
    }

    /// Near one of the numbers that something ends at.
    fn around_a_limit(&mut self) -> usize {
        let limit = *self.pick(&[20, 50, 64, 100, 128, 200, 250, 256, 500, 512, 1024, 2048, 4096, 8192]);
        limit - 2 + self.below(5)
    }

    fn times(&mut self) -> usize {
        *[1, 1, 1, 2, 2, 5, 50, 101, 501, 5000].get(self.below(10)).unwrap_or(&1)
    }
}
