//! The parts of a query by their form alone: keys, operators and values, with their columns.

use super::Mistake;

/// A term by its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// From 1.
    pub column: usize,
    pub text: String,
    pub is_negated: bool,
    /// `None`: the value is text to look for.
    pub key: Option<Word>,
    pub operator: Option<(Operator, usize)>,
    /// At least one.
    pub values: Vec<Word>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub column: usize,
    pub text: String,
    /// What is in quotes stands for itself.
    pub is_quoted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Above,
    AtLeast,
    Below,
    AtMost,
}

pub fn scan(text: &str) -> Result<Vec<Scanned>, Mistake> {
    let mut scanner = Scanner { characters: text.chars().collect(), at: 0 };
    let mut terms = Vec::new();
    loop {
        scanner.skip_blanks();
        if scanner.peek().is_none() {
            return Ok(terms);
        }
        terms.push(scanner.term()?);
    }
}

struct Scanner {
    characters: Vec<char>,
    at: usize,
}

impl Scanner {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn column(&self) -> usize {
        self.at + 1
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn takes(&mut self, character: char) -> bool {
        let is_next = self.peek() == Some(character);
        self.at += usize::from(is_next);
        is_next
    }

    fn since(&self, start: usize) -> String {
        self.characters[start..self.at].iter().collect()
    }

    fn term(&mut self) -> Result<Scanned, Mistake> {
        let start = self.at;
        let is_negated = self.takes('!');
        if self.peek().is_none_or(|next| next == '!' || next.is_whitespace()) {
            return Err(Mistake::new(start + 1, "\"!\" stands right before the term that must not hold."));
        }
        let first = if self.peek() == Some('"') { self.quoted()? } else { self.word(":")? };
        let is_key = self.peek() == Some(':') && !first.is_quoted;
        let (key, operator, values) = if is_key {
            if first.text.is_empty() {
                return Err(Mistake::new(
                    self.column(),
                    "A key is missing before \":\". Text with a colon goes in quotes.",
                ));
            }
            self.at += 1;
            let operator = self.operator();
            (Some(first), operator, self.values()?)
        } else {
            (None, None, vec![first])
        };
        if self.peek().is_some_and(|next| !next.is_whitespace()) {
            return Err(Mistake::new(self.column(), "A blank belongs between two terms."));
        }
        let word = &values[0];
        if key.is_none() && !word.is_quoted && matches!(word.text.as_str(), "OR" | "AND") {
            let sentence = match word.text.as_str() {
                "AND" => "All terms of a query hold anyway: leave \"AND\" out.",
                _ => "Terms cannot be joined by \"OR\". Several values of one key can: level:[error, fatal].",
            };
            return Err(Mistake::new(word.column, sentence));
        }
        Ok(Scanned { column: start + 1, text: self.since(start), is_negated, key, operator, values })
    }

    fn operator(&mut self) -> Option<(Operator, usize)> {
        let column = self.column();
        let operator = match self.peek()? {
            '>' => (Operator::Above, Operator::AtLeast),
            '<' => (Operator::Below, Operator::AtMost),
            _ => return None,
        };
        self.at += 1;
        Some((if self.takes('=') { operator.1 } else { operator.0 }, column))
    }

    fn values(&mut self) -> Result<Vec<Word>, Mistake> {
        match self.peek() {
            Some('"') => Ok(vec![self.quoted()?]),
            Some('[') => self.list(),
            _ => {
                let word = self.word("")?;
                if word.text.is_empty() {
                    let sentence =
                        "A value is missing after \":\". Text with a colon goes in quotes: \"KeyError: 'plum'\".";
                    return Err(Mistake::new(word.column, sentence));
                }
                Ok(vec![word])
            }
        }
    }

    fn list(&mut self) -> Result<Vec<Word>, Mistake> {
        let opened = self.column();
        self.at += 1;
        let mut values = Vec::new();
        loop {
            self.skip_blanks();
            let value = if self.peek() == Some('"') { self.quoted()? } else { self.word(",]")? };
            self.skip_blanks();
            if self.peek().is_none() {
                return Err(Mistake::new(opened, "This list has no end: \"]\" is missing."));
            }
            if value.text.is_empty() && !value.is_quoted {
                return Err(Mistake::new(value.column, "A value is missing here: a list looks as [error, fatal]."));
            }
            values.push(value);
            if self.takes(']') {
                return Ok(values);
            }
            if !self.takes(',') {
                return Err(Mistake::new(self.column(), "A comma belongs between two values of a list."));
            }
        }
    }

    /// Up to a blank or one of these.
    fn word(&mut self, ends: &str) -> Result<Word, Mistake> {
        let start = self.at;
        while let Some(next) = self.peek().filter(|next| !next.is_whitespace() && !ends.contains(*next)) {
            if matches!(next, '(' | ')') {
                let sentence = "Terms cannot be put in parentheses. Text that has some goes in quotes: \"pay()\".";
                return Err(Mistake::new(self.column(), sentence));
            }
            self.at += 1;
        }
        Ok(Word { column: start + 1, text: self.since(start), is_quoted: false })
    }

    /// A backslash takes the meaning from a quote or another one.
    fn quoted(&mut self) -> Result<Word, Mistake> {
        let column = self.column();
        self.at += 1;
        let mut text = String::new();
        while let Some(next) = self.peek() {
            self.at += 1;
            match (next, self.peek()) {
                ('"', _) => return Ok(Word { column, text, is_quoted: true }),
                ('\\', Some(escaped @ ('"' | '\\'))) => {
                    self.at += 1;
                    text.push(escaped);
                }
                _ => text.push(next),
            }
        }
        Err(Mistake::new(column, "This quote has no end: a second one is missing."))
    }
}
