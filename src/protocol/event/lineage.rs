//! How the exceptions of one event belong together: causes, and the members of groups.

use super::{Event, Exception};

impl Event {
    /// Positions of the exceptions that the one at `group` holds, as Python's `ExceptionGroup` does. A cause is no member,
    /// though some SDKs mark what has one as a group.
    pub fn members_of(&self, group: usize) -> impl Iterator<Item = usize> {
        self.children_of(group).filter(move |child| self.is_member(*child, group))
    }

    /// Positions of the exceptions that the one at `effect` was raised from.
    pub fn causes_of(&self, effect: usize) -> impl Iterator<Item = usize> {
        self.children_of(effect).filter(move |child| !self.is_member(*child, effect))
    }

    /// The exception that the event is called by: the outermost, and of a group whose members have one type its first.
    #[must_use]
    pub fn naming_exception(&self) -> Option<&Exception> {
        self.exceptions.get(self.naming_position()?)
    }

    /// Position of the [`naming_exception`](Self::naming_exception).
    #[must_use]
    pub fn naming_position(&self) -> Option<usize> {
        let mut position = self.exceptions.len().checked_sub(1)?;
        // As deep as a group can be nested.
        for _ in 0..self.exceptions.len() {
            let r#type = |member: usize| self.exceptions[member].r#type.as_deref();
            let Some(first) = self.members_of(position).min_by_key(|member| self.exceptions[*member].lineage.id) else {
                break;
            };
            if self.members_of(position).any(|member| r#type(member) != r#type(first)) {
                break;
            }
            position = first;
        }
        Some(position)
    }

    fn children_of(&self, parent: usize) -> impl Iterator<Item = usize> {
        let id = self.exceptions.get(parent).and_then(|exception| exception.lineage.id);
        let is_child = move |exception: &Exception| id.is_some() && exception.lineage.parent == id;
        let children = self.exceptions.iter().enumerate().filter(move |(_, exception)| is_child(exception));
        children.map(|(position, _)| position).filter(move |position| *position != parent)
    }

    fn is_member(&self, child: usize, parent: usize) -> bool {
        match self.exceptions[child].lineage.source.as_deref() {
            // `exceptions[0]`, `errors[0]`, `InnerExceptions[0]`
            Some(source) if source.ends_with(']') => true,
            Some("cause" | "__cause__" | "__context__" | "InnerException" | "inner_exception" | "previous") => false,
            _ => self.exceptions[parent].lineage.is_group,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EventId, Receipt, parse};

    #[test]
    fn a_group_of_one_type_is_called_by_its_first_member() {
        for (exceptions, expected) in [
            ("[]", None),
            (r#"[{"type":"Cause"},{"type":"Outer"}]"#, Some("Outer")),
            (
                r#"[{"type":"KeyError","value":"b","mechanism":{"exception_id":2,"parent_id":0,"source":"exceptions[1]"}},
                    {"type":"KeyError","value":"a","mechanism":{"exception_id":1,"parent_id":0,"source":"exceptions[0]"}},
                    {"type":"ExceptionGroup","mechanism":{"exception_id":0,"is_exception_group":true}}]"#,
                Some("KeyError"),
            ),
            (
                r#"[{"type":"KeyError","mechanism":{"exception_id":2,"parent_id":0,"source":"exceptions[1]"}},
                    {"type":"ValueError","mechanism":{"exception_id":1,"parent_id":0,"source":"exceptions[0]"}},
                    {"type":"ExceptionGroup","mechanism":{"exception_id":0,"is_exception_group":true}}]"#,
                Some("ExceptionGroup"),
            ),
            (
                r#"[{"type":"Cause","mechanism":{"exception_id":1,"parent_id":0,"source":"cause"}},
                    {"type":"Outer","mechanism":{"exception_id":0,"is_exception_group":true}}]"#,
                Some("Outer"),
            ),
            (
                r#"[{"type":"A","mechanism":{"exception_id":0,"parent_id":1,"is_exception_group":true}},
                    {"type":"B","mechanism":{"exception_id":1,"parent_id":0,"is_exception_group":true}}]"#,
                Some("B"),
            ),
        ] {
            let receipt = Receipt::at(jiff::Timestamp::UNIX_EPOCH, EventId([1; 16]));
            let event = parse(format!(r#"{{"exception":{exceptions}}}"#).as_bytes(), &receipt).unwrap();
            let named = event.naming_exception().and_then(|exception| exception.r#type.as_deref());
            assert_eq!(named, expected, "{exceptions}");
        }
    }
}
