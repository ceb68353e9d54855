//! Who may have the operator read a Secret.

use std::{fs, path::PathBuf};

use crate::world::{Namespace, beside_others};

/// A user who may do everything with projects and nothing with Secrets, but for those named.
fn tenant(namespace: &Namespace, readable: &[&str]) -> String {
    let user = format!("tenant-of-{}", namespace.0);
    let secrets = if readable.is_empty() {
        String::new()
    } else {
        format!("- {{apiGroups: [\"\"], resources: [secrets], resourceNames: [{}], verbs: [get]}}", readable.join(", "))
    };
    namespace.apply(&format!(
        r"apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: tenant}}
rules:
- {{apiGroups: [errortracking.dev], resources: [errortrackingprojects], verbs: ['*']}}
{secrets}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: tenant}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]
"
    ));
    user
}

/// Applies a project as `user`; what the API server answers.
fn apply_as(namespace: &Namespace, user: &str, name: &str, integrated: &str) -> Result<String, String> {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}.yaml", namespace.0));
    let project = format!(
        "apiVersion: errortracking.dev/v1alpha1\nkind: ErrorTrackingProject\nmetadata: {{name: {name}}}\nspec: {{backend: {{integrated: {integrated}}}}}\n"
    );
    fs::write(&file, project).unwrap();
    namespace.try_kubectl(&["--as", user, "apply", "-f", file.to_str().unwrap()])
}

#[test]
fn a_project_may_only_name_a_secret_that_its_author_may_read() {
    let _turn = beside_others();
    let namespace = Namespace::new("admission");
    for secret in ["theirs", "others"] {
        namespace.kubectl(&[
            "create",
            "secret",
            "generic",
            secret,
            "--from-literal=uri=postgresql://nobody@db.invalid/nothing",
        ]);
    }
    let user = tenant(&namespace, &["theirs"]);
    let reference = |secret: &str| format!("{{database: {{secretRef: {{name: {secret}}}}}, ingest: {{replicas: 0}}}}");

    let refusal = apply_as(&namespace, &user, "shop", &reference("others")).expect_err("it may not read others");
    println!("{refusal}");
    for part in ["secretRef names Secret others", &user, "may get it", "Forbidden"] {
        assert!(refusal.contains(part), "{part} in {refusal}");
    }
    // A name that does not exist yet is as little theirs to use.
    assert!(apply_as(&namespace, &user, "shop", &reference("future")).is_err());

    apply_as(&namespace, &user, "shop", &reference("theirs")).unwrap();
    apply_as(&namespace, &user, "plain", "{ingest: {replicas: 0}}").unwrap();
    // Namespaced permission counts where the project is, and for those who may read all of them.
    let admin =
        namespace.try_kubectl(&["create", "rolebinding", "secrets", "--clusterrole=admin", "--user=admin-of-it"]);
    admin.unwrap();
    apply_as(&namespace, "admin-of-it", "wide", &reference("others")).unwrap();

    // What was allowed once may be changed by who may not read the Secret, and goes.
    for arguments in [
        &["annotate", "etp/wide", "team=web"][..],
        &["patch", "etp/wide", "--type=merge", "-p", r#"{"spec":{"displayName":"Wide"}}"#],
        &["delete", "etp/wide", "--timeout=60s"],
    ] {
        let done = namespace.try_kubectl(&[&["--as", &user][..], arguments].concat());
        assert!(done.is_ok(), "{arguments:?}: {done:?}");
    }
    namespace.kubectl(&["delete", "etp/shop", "etp/plain", "--timeout=60s"]);
}
