//! A project goes: its pods and logins, or its keys at the server that keeps them.

use super::names::ingest_name;
use crate::{
    crd::{DeletionPolicy, ErrorTrackingProject},
    operator::{
        databases::tombstones::Tombstone,
        kinds::deletion::{Deleted, Undo},
        objects::child::ChildKind,
    },
};

pub fn undo(deleted: &Deleted<'_, ErrorTrackingProject>) -> Vec<Undo> {
    let Deleted { namespace, name, uid, object } = deleted;
    // An object that cannot be read does not ask for its schema to be dropped.
    let policy = object.map_or(DeletionPolicy::Retain, |project| project.spec.deletion_policy);
    let settle = Undo::Settle { step: "retire", tombstone: Tombstone::project(uid, namespace, name, policy) };
    if object.is_some_and(|project| project.server().is_some()) {
        return vec![Undo::TakeAllBack { step: "take-back" }, settle];
    }
    // Pods go first: nothing may be refused by a login that is gone while a pod still answers.
    vec![Undo::DeleteChild { step: "delete-workload", kind: ChildKind::Deployment, name: ingest_name(name) }, settle]
}
