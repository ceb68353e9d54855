//! Which issues a list has: typed terms, and the conditions of SQL that they are. Every value is bound, never written
//! into the statement.
//!
//! Terms about environments and releases speak of events: all of them hold for one event, and the numbers of an issue
//! are then those of such events. The other terms speak of an issue as a whole.

use jiff::Timestamp;
use sqlx::{Postgres, QueryBuilder};

use super::{IssueStatus, snapshot::Tables};
use crate::{
    dsn::ProjectId,
    protocol::event::Level,
    store::{Timestamptz, ingest::tag_value_hash},
};

/// Terms that all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Search {
    pub terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    pub is_negated: bool,
    pub criterion: Criterion,
}

/// Of a list, one is enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Criterion {
    Is(Vec<IssueState>),
    Assigned(Vec<Assignee>),
    /// Of the newest event.
    Level(Vec<Level>),
    /// Of an event; the empty name is that of events without one.
    Environment(Vec<Pattern>),
    /// Of an event; the empty name is that of events without one.
    Release(Vec<Pattern>),
    FirstRelease(Vec<Pattern>),
    FirstSeen(Bounds<Timestamp>),
    /// When its first event was stored.
    Stored(Bounds<Timestamp>),
    LastSeen(Bounds<Timestamp>),
    Events(Bounds<i64>),
    Users(Bounds<i64>),
    /// Some event has the tag with one of these values; without any, with whatever value.
    Tag {
        key: String,
        values: Vec<String>,
    },
    /// In the title, the culprit, or the exception's type or value, in capitals or not.
    Text(Pattern),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssueState {
    Status(IssueStatus),
    /// Unresolved, and reopened by an event after it was resolved.
    Regressed,
    /// First seen since then.
    New {
        since: Timestamp,
    },
    Assigned,
    Unassigned,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Assignee {
    Nobody,
    Named(Pattern),
}

/// Texts with anything between them. One alone is the whole text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(pub Vec<String>);

impl Pattern {
    #[must_use]
    pub fn exactly(text: &str) -> Self {
        Self(vec![text.to_owned()])
    }

    /// As `LIKE` takes it.
    fn like(&self) -> String {
        self.0.iter().map(|text| literal(text)).collect::<Vec<_>>().join("%")
    }
}

/// From one, before the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds<T> {
    pub from: Option<T>,
    pub before: Option<T>,
}

impl Term {
    #[must_use]
    pub fn new(criterion: Criterion) -> Self {
        Self { is_negated: false, criterion }
    }

    #[must_use]
    pub fn is_about_environments(&self) -> bool {
        matches!(self.criterion, Criterion::Environment(_))
    }

    /// Whether it speaks of events, and not of an issue as a whole.
    #[must_use]
    pub fn is_about_events(&self) -> bool {
        matches!(self.criterion, Criterion::Environment(_) | Criterion::Release(_))
    }
}

impl Search {
    #[must_use]
    pub fn status(status: IssueStatus) -> Self {
        Self { terms: vec![Term::new(Criterion::Is(vec![IssueState::Status(status)]))] }
    }

    /// Its terms and some more.
    #[must_use]
    pub fn and(mut self, terms: impl IntoIterator<Item = Term>) -> Self {
        self.terms.extend(terms);
        self
    }

    #[must_use]
    pub fn is_about_events(&self) -> bool {
        self.terms.iter().any(Term::is_about_events)
    }
}

/// Stands for itself in `LIKE`.
fn literal(text: &str) -> String {
    text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
}

/// What begins so, as `LIKE` takes it.
pub(super) fn beginning(start: &str) -> String {
    format!("{}%", literal(start))
}

pub(super) type Sql = QueryBuilder<Postgres>;

/// Tables of names, with the columns of number and name.
const ENVIRONMENTS: (&str, &str, &str) = ("environments", "env_id", "environment");
const RELEASES: (&str, &str, &str) = ("releases", "release_id", "release");

/// Rows `p` of `issue_environments` that are about one release, and those about all of an environment.
const ONE_RELEASE: &str = "p.release_id <> -2";
const ALL_RELEASES: &str = "p.release_id = -2";

/// Writes conditions about the tables of a project.
pub(super) struct Conditions<'t> {
    pub project: ProjectId,
    pub tables: &'t Tables,
}

impl Conditions<'_> {
    /// Those about events, as rows `p` of `issue_environments`; the numbers of rows that hold are to be added up.
    pub fn events(&self, sql: &mut Sql, search: &Search) {
        let of_releases = search.terms.iter().any(|term| matches!(term.criterion, Criterion::Release(_)));
        sql.push(if of_releases { ONE_RELEASE } else { ALL_RELEASES }).push(" AND ");
        self.all(sql, search.terms.iter().filter(|term| term.is_about_events()));
    }

    /// As [`Self::events`], with each release apart.
    pub fn pairs(&self, sql: &mut Sql, search: &Search) {
        sql.push(ONE_RELEASE).push(" AND ");
        self.all(sql, search.terms.iter().filter(|term| term.is_about_events()));
    }

    /// Those about rows `p` that have `env_id` alone.
    pub fn environments(&self, sql: &mut Sql, search: &Search) {
        self.all(sql, search.terms.iter().filter(|term| term.is_about_environments()));
    }

    /// Those about issues `i` as a whole.
    pub fn issues(&self, sql: &mut Sql, search: &Search) {
        self.all(sql, search.terms.iter().filter(|term| !term.is_about_events()));
    }

    fn all<'s>(&self, sql: &mut Sql, terms: impl Iterator<Item = &'s Term>) {
        sql.push("true");
        for term in terms {
            sql.push(" AND ");
            self.term(sql, term);
        }
    }

    pub fn term(&self, sql: &mut Sql, term: &Term) {
        // What is not known, as the assignee of an issue that has none, is not so. A condition as it is finds its index.
        sql.push("(");
        self.criterion(sql, &term.criterion);
        sql.push(if term.is_negated { ") IS NOT TRUE" } else { ")" });
    }

    fn criterion(&self, sql: &mut Sql, criterion: &Criterion) {
        match criterion {
            Criterion::Is(states) => any(sql, states, |sql, state| self.state(sql, *state)),
            Criterion::Assigned(assignees) => any(sql, assignees, |sql, assignee| match assignee {
                Assignee::Nobody => {
                    sql.push("i.assignee IS NULL");
                }
                Assignee::Named(name) => is_like(sql, "i.assignee", name),
            }),
            Criterion::Level(levels) => {
                let levels: Vec<i16> = levels.iter().map(|level| *level as i16).collect();
                sql.push("i.level = ANY (").push_bind(levels).push(")");
            }
            Criterion::Environment(names) => self.is_named(sql, "p.env_id", names, ENVIRONMENTS),
            Criterion::Release(names) => self.is_named(sql, "p.release_id", names, RELEASES),
            Criterion::FirstRelease(names) => self.is_named(sql, "coalesce(i.first_release_id, 0)", names, RELEASES),
            Criterion::FirstSeen(bounds) => is_within(sql, "i.first_seen", &bounds.map(Timestamptz::from)),
            Criterion::Stored(bounds) => is_within(sql, "i.created_at", &bounds.map(Timestamptz::from)),
            Criterion::LastSeen(bounds) => is_within(sql, "i.last_seen", &bounds.map(Timestamptz::from)),
            Criterion::Events(bounds) => is_within(sql, "i.events", bounds),
            Criterion::Users(bounds) => is_within(sql, "i.users", bounds),
            Criterion::Tag { key, values } => self.tag(sql, key, values),
            Criterion::Text(pattern) => {
                let pattern = format!("%{}%", pattern.like());
                // Small and capital letters of a language are looked up one by one, which takes longer than all the rest.
                let collation = if pattern.is_ascii() { " COLLATE \"C\"" } else { "" };
                let columns = ["i.title", "i.culprit", "i.exception_type", "i.exception_value"];
                any(sql, &columns, |sql, column| {
                    sql.push(column).push(" ILIKE ").push_bind(pattern.clone()).push(collation);
                });
            }
        }
    }

    fn state(&self, sql: &mut Sql, state: IssueState) {
        match state {
            IssueState::Status(status) => sql.push("i.status = ").push_bind(status.as_str()),
            IssueState::New { since } => sql.push("i.first_seen >= ").push_bind(Timestamptz::from(since)),
            IssueState::Assigned => sql.push("i.assignee IS NOT NULL"),
            IssueState::Unassigned => sql.push("i.assignee IS NULL"),
            IssueState::Regressed => sql.push(regressed(self.project)),
        };
    }

    /// That a number, 0 where there is no name, is that of one of the names in a table. The numbers are found first, so
    /// that they can be looked up by an index; Postgres takes an array for ten of them.
    fn is_named(&self, sql: &mut Sql, number: &str, patterns: &[Pattern], (table, id, name): (&str, &str, &str)) {
        let numbers = format!("SELECT d.{id} FROM {}.{table} AS d WHERE ", self.project.schema());
        let is_like = |sql: &mut Sql, pattern: &Pattern| is_like(sql, &format!("d.{name}"), pattern);
        let nameless = Pattern::exactly("");
        if let [one @ Pattern(pieces)] = patterns
            && pieces.len() == 1
            && *one != nameless
        {
            sql.push(format_args!("{number} = ({numbers}"));
            is_like(sql, one);
            sql.push(")");
            return;
        }
        let (without, named): (Vec<_>, Vec<_>) = patterns.iter().partition(|pattern| **pattern == nameless);
        sql.push(format_args!("{number} = ANY (ARRAY({numbers}"));
        any(sql, &named, |sql, pattern| is_like(sql, pattern));
        sql.push(if without.is_empty() { "))" } else { ") || 0)" });
    }

    /// Issues whose events have a tag, or those of issues that were merged into them, by the index of values; whatever
    /// the value is, by that of issues.
    fn tag(&self, sql: &mut Sql, key: &str, values: &[String]) {
        let schema = self.project.schema();
        let triage = &self.tables.triage;
        let has = |sql: &mut Sql, issue: &str| {
            sql.push(format_args!(
                "g.issue_id = {issue} AND g.key_id = (SELECT k.key_id FROM {schema}.tag_keys AS k WHERE k.key = "
            ));
            sql.push_bind(key.to_owned()).push(")");
        };
        if values.is_empty() {
            // With a limit each issue is looked up: a key can have more rows than there are issues by far.
            sql.push(format_args!("(SELECT true FROM {schema}.issue_tags AS g WHERE "));
            has(sql, "i.issue_id");
            sql.push(format_args!(
                " LIMIT 1) OR i.merged_issues > 0 AND (SELECT true FROM {triage} AS t JOIN {schema}.issue_tags AS g ON "
            ));
            has(sql, "t.issue_id");
            sql.push(" WHERE t.merged_into = i.issue_id LIMIT 1)");
            return;
        }
        let hashes: Vec<i64> = values.iter().map(|value| tag_value_hash(value)).collect();
        sql.push(format_args!(
            "i.issue_id IN (
                SELECT coalesce(t.merged_into, g.issue_id)
                FROM {schema}.issue_tags AS g LEFT JOIN {triage} AS t ON t.issue_id = g.issue_id
                WHERE g.key_id = (SELECT k.key_id FROM {schema}.tag_keys AS k WHERE k.key = "
        ));
        sql.push_bind(key.to_owned()).push(") AND g.value_hash = ANY (").push_bind(hashes);
        sql.push(") AND g.value = ANY (").push_bind(values.to_vec()).push("))");
    }
}

/// That an issue `i` is unresolved because it happened again. What was decided last counts, of what was not undone; an
/// issue with its first status has no such row to look for.
pub(super) fn regressed(project: ProjectId) -> String {
    format!(
        "i.status = 'unresolved' AND i.status_changed_at IS NOT NULL AND 'regression' = (
            SELECT a.kind FROM {}.issue_activity AS a
            WHERE a.issue_id = i.issue_id
                AND a.kind IN ('regression', 'unignored', 'unresolved', 'resolved', 'ignored')
                AND to_jsonb(a) ->> 'undone_by' IS NULL
            ORDER BY a.activity_id DESC LIMIT 1)",
        project.schema()
    )
}

impl<T: Copy> Bounds<T> {
    fn map<U>(&self, to: impl Fn(T) -> U) -> Bounds<U> {
        Bounds { from: self.from.map(&to), before: self.before.map(&to) }
    }
}

/// One of them; none of none.
fn any<T>(sql: &mut Sql, choices: &[T], condition: impl Fn(&mut Sql, &T)) {
    sql.push("(false");
    for choice in choices {
        sql.push(" OR (");
        condition(sql, choice);
        sql.push(")");
    }
    sql.push(")");
}

fn is_like(sql: &mut Sql, column: &str, pattern: &Pattern) {
    match &*pattern.0 {
        [whole] => sql.push(column).push(" = ").push_bind(whole.clone()),
        _ => sql.push(column).push(" LIKE ").push_bind(pattern.like()),
    };
}

fn is_within<T>(sql: &mut Sql, column: &str, bounds: &Bounds<T>)
where
    T: Copy + for<'q> sqlx::Encode<'q, Postgres> + sqlx::Type<Postgres>,
{
    sql.push("true");
    for (operator, limit) in [(">=", bounds.from), ("<", bounds.before)] {
        if let Some(limit) = limit {
            sql.push(format_args!(" AND {column} {operator} ")).push_bind(limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_special_in_like_stands_for_itself() {
        let pattern = Pattern([r"50%_\", "", "x"].map(str::to_owned).to_vec());
        assert_eq!(pattern.like(), r"50\%\_\\%%x");
    }
}
