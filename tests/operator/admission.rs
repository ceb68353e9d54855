//! What somebody who may create projects can have the operator do: no more than they may do themselves.

use std::{fs, path::PathBuf, time::Duration};

use crate::world::{Namespace, alone, beside_others, helm, kubectl, try_kubectl, wait_for};

/// Until the API server's authorizer and its policies have followed a change.
const SOON: Duration = Duration::from_secs(20);
const POLICY: &str = "validatingadmissionpolicybinding/error-tracking-project";

/// A rule of a role.
fn rule(group: &str, resource: &str, verb: &str, names: &[&str]) -> String {
    let names = if names.is_empty() { String::new() } else { format!(", resourceNames: [{}]", names.join(", ")) };
    format!("- {{apiGroups: [{group:?}], resources: [{resource}], verbs: [{verb}]{names}}}\n")
}

/// A user who may do everything with projects and keys, what the rules say, and nothing else.
fn tenant(namespace: &Namespace, name: &str, rules: &[String]) -> String {
    let user = format!("{name}-of-{}", namespace.0);
    namespace.apply(&format!(
        r"apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {name}}}
rules:
- {{apiGroups: [errortracking.dev], resources: [errortrackingprojects, clientkeys], verbs: ['*']}}
{}---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {name}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]
",
        rules.concat()
    ));
    user
}

/// Applies a project as `user`; what the API server answers.
fn apply_as(namespace: &Namespace, user: &str, name: &str, integrated: &str) -> Result<String, String> {
    apply_object_as(
        namespace,
        user,
        "ErrorTrackingProject",
        name,
        &format!("{{backend: {{integrated: {integrated}}}}}"),
    )
}

/// Applies a key of project `shop` as `user`; what the API server answers.
fn apply_key_as(namespace: &Namespace, user: &str, name: &str, rotation: &str) -> Result<String, String> {
    let spec = format!("{{projectRef: {{name: shop}}, rotation: {rotation}}}");
    apply_object_as(namespace, user, "ClientKey", name, &spec)
}

fn apply_object_as(namespace: &Namespace, user: &str, kind: &str, name: &str, spec: &str) -> Result<String, String> {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{kind}-{name}.yaml", namespace.0));
    let object =
        format!("apiVersion: errortracking.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n");
    fs::write(&file, object).unwrap();
    namespace.try_kubectl(&["--as", user, "apply", "-f", file.to_str().unwrap()])
}

/// A refusal that says all of this.
fn refused(answer: Result<String, String>, parts: &[&str]) {
    let refusal = answer.expect_err(parts[0]);
    println!("{refusal}");
    for part in parts.iter().copied().chain(["Forbidden"]) {
        assert!(refusal.contains(part), "{part} in {refusal}");
    }
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
    let may_route = rule("networking.k8s.io", "ingresses", "create", &[]);
    let user = tenant(&namespace, "tenant", &[rule("", "secrets", "get", &["theirs"]), may_route]);
    let database = |secret: &str| format!("{{database: {{secretRef: {{name: {secret}}}}}, ingest: {{replicas: 0}}}}");
    let certificate = |secret: &str| {
        format!("{{ingest: {{replicas: 0, ingress: {{host: errors.example, tlsSecretName: {secret}}}}}}}")
    };
    let registries =
        |secrets: &str| format!("{{ingest: {{replicas: 0, podTemplate: {{imagePullSecrets: [{secrets}]}}}}}}");

    refused(
        apply_as(&namespace, &user, "shop", &database("others")),
        &["secretRef names Secret others", &user, "may get it"],
    );
    // A name that does not exist yet is as little theirs to use.
    assert!(apply_as(&namespace, &user, "shop", &database("future")).is_err());
    let named = "ingest.ingress.tlsSecretName names Secret others";
    refused(apply_as(&namespace, &user, "tls", &certificate("others")), &[named, &user, "may get it"]);
    let named = "ingest.podTemplate.imagePullSecrets names Secret others";
    refused(apply_as(&namespace, &user, "pull", &registries("{name: theirs}, {name: others}")), &[named, "may get it"]);

    apply_as(&namespace, &user, "shop", &database("theirs")).unwrap();
    apply_as(&namespace, &user, "tls", &certificate("theirs")).unwrap();
    apply_as(&namespace, &user, "pull", &registries("{name: theirs}")).unwrap();
    refused(apply_as(&namespace, &user, "pull", &registries("{name: theirs}, {name: others}")), &[named]);
    apply_as(&namespace, &user, "plain", "{ingest: {replicas: 0}}").unwrap();
    // Namespaced permission counts where the project is, and for those who may read all of them.
    let admin =
        namespace.try_kubectl(&["create", "rolebinding", "secrets", "--clusterrole=admin", "--user=admin-of-it"]);
    admin.unwrap();
    apply_as(&namespace, "admin-of-it", "wide", &database("others")).unwrap();
    // As many as the definition lets in: each is looked at, within what a policy may cost.
    let most: Vec<_> = (0..8).map(|number| format!("{{name: registry-{number}}}")).collect();
    let all_kinds = format!(
        "{{database: {{secretRef: {{name: others}}}}, ingest: {{replicas: 0, ingress: {{host: errors.example, \
         tlsSecretName: others}}, podTemplate: {{imagePullSecrets: [{}]}}}}}}",
        most.join(", ")
    );
    apply_as(&namespace, "admin-of-it", "most", &all_kinds).unwrap();

    // What was allowed once may be changed by who may not read the Secret, and goes.
    for arguments in [
        &["annotate", "etp/wide", "etp/most", "team=web"][..],
        &["patch", "etp/wide", "--type=merge", "-p", r#"{"spec":{"displayName":"Wide"}}"#],
        &["patch", "etp/most", "--type=merge", "-p", r#"{"spec":{"displayName":"Most"}}"#],
        &["delete", "etp/wide", "etp/most", "--timeout=60s"],
    ] {
        let done = namespace.try_kubectl(&[&["--as", &user][..], arguments].concat());
        assert!(done.is_ok(), "{arguments:?}: {done:?}");
    }
    namespace.kubectl(&["delete", "etp", "--all", "--timeout=60s"]);
}

#[test]
fn a_project_elsewhere_may_only_name_a_token_that_its_author_may_read() {
    let _turn = beside_others();
    let namespace = Namespace::new("admission-tokens");
    for secret in ["theirs", "others"] {
        namespace.kubectl(&["create", "secret", "generic", secret, "--from-literal=token=fake"]);
    }
    let user = tenant(&namespace, "tenant", &[rule("", "secrets", "get", &["theirs"])]);
    let apply = |user: &str, name: &str, server: &str, token: &str, bundle: Option<&str>| {
        let bundle = bundle.map_or_else(String::new, |secret| format!(", caBundleSecretRef: {{name: {secret}}}"));
        let project = if server == "sentry" { "organization: acme, project: shop" } else { "project: acme/shop" };
        let backend = format!(
            "{{{server}: {{url: 'https://server.invalid', {project}, tokenSecretRef: {{name: {token}}}\
             {bundle}}}}}"
        );
        apply_object_as(&namespace, user, "ErrorTrackingProject", name, &format!("{{backend: {backend}}}"))
    };
    let admin =
        namespace.try_kubectl(&["create", "rolebinding", "secrets", "--clusterrole=admin", "--user=admin-of-it"]);
    admin.unwrap();
    for server in ["sentry", "gitlab"] {
        let named = format!("spec.backend.{server}.tokenSecretRef names Secret others");
        refused(apply(&user, server, server, "others", None), &[&named, &user, "may get it"]);
        let named = format!("spec.backend.{server}.caBundleSecretRef names Secret others");
        refused(apply(&user, server, server, "theirs", Some("others")), &[&named, &user, "may get it"]);
        // A name that does not exist yet is as little theirs to use.
        assert!(apply(&user, server, server, "future", None).is_err());

        apply(&user, server, server, "theirs", Some("theirs")).unwrap();
        refused(apply(&user, server, server, "others", None), &["tokenSecretRef names Secret others"]);
        // What was allowed once may be changed by who may not read the Secret.
        let wide = format!("{server}-wide");
        apply("admin-of-it", &wide, server, "others", None).unwrap();
        let rename = r#"{"spec":{"displayName":"Shop"}}"#;
        namespace.try_kubectl(&["--as", &user, "patch", &format!("etp/{wide}"), "--type=merge", "-p", rename]).unwrap();
    }
    namespace.kubectl(&["delete", "etp", "--all", "--timeout=60s"]);
}

#[test]
fn a_way_in_from_outside_may_only_be_asked_for_by_those_who_may_make_one() {
    let _turn = beside_others();
    let namespace = Namespace::new("admission-routes");
    let nobody = tenant(&namespace, "nobody", &[]);
    let router = tenant(
        &namespace,
        "router",
        &[
            rule("networking.k8s.io", "ingresses", "create", &[]),
            rule("gateway.networking.k8s.io", "httproutes", "create", &[]),
        ],
    );
    let ingress = |more: &str| format!("{{ingest: {{replicas: 0, ingress: {{host: errors.example}}{more}}}}}");
    let gateway = "{ingest: {replicas: 0, gateway: {parentRefs: [{name: public}]}}}";

    let says = ["ingest.ingress makes an Ingress", nobody.as_str(), "create ingresses in namespace t-admission-routes"];
    refused(apply_as(&namespace, &nobody, "shop", &ingress("")), &says);
    let says = ["ingest.gateway makes an HTTPRoute", nobody.as_str(), "create httproutes.gateway.networking.k8s.io"];
    refused(apply_as(&namespace, &nobody, "route", gateway), &says);

    apply_as(&namespace, &router, "shop", &ingress("")).unwrap();
    apply_as(&namespace, &router, "route", gateway).unwrap();
    // What stays, stays; what would change the Ingress needs the right again: also the path that it takes.
    let rename =
        |patch: &str| namespace.try_kubectl(&["--as", &nobody, "patch", "etp/shop", "--type=merge", "-p", patch]);
    rename(r#"{"spec":{"displayName":"Shop"}}"#).unwrap();
    let host = r#"{"spec":{"backend":{"integrated":{"ingest":{"ingress":{"host":"bank.example"}}}}}}"#;
    refused(rename(host), &["ingest.ingress makes an Ingress"]);
    let path = r#"{"spec":{"backend":{"integrated":{"ingest":{"externalURL":"https://errors.example/login"}}}}}"#;
    refused(rename(path), &["ingest.ingress makes an Ingress"]);
    // Taking it out takes nothing from anybody.
    rename(r#"{"spec":{"backend":{"integrated":{"ingest":{"ingress":null}}}}}"#).unwrap();
    namespace.kubectl(&["delete", "etp", "--all", "--timeout=60s"]);
}

#[test]
fn a_key_that_controllers_act_upon_needs_a_prefix_that_the_installation_allows() {
    let _turn = beside_others();
    let namespace = Namespace::new("admission-keys");
    let user = tenant(&namespace, "tenant", &[rule("networking.k8s.io", "ingresses", "create", &[])]);
    let pods = |metadata: &str| format!("{{ingest: {{replicas: 0, podTemplate: {{metadata: {metadata}}}}}}}");
    let ingress = |annotations: &str| {
        format!("{{ingest: {{replicas: 0, ingress: {{host: e.example, annotations: {annotations}}}}}}}")
    };
    for (integrated, field, key) in [
        (ingress("{note: hello, nginx.org/server-snippets: x}"), "ingress.annotations", "nginx.org/server-snippets"),
        (pods("{labels: {linkerd.io/inject: enabled}}"), "podTemplate.metadata.labels", "linkerd.io/inject"),
        (
            pods("{annotations: {sidecar.istio.io/inject: \"true\"}}"),
            "podTemplate.metadata.annotations",
            "sidecar.istio.io/inject",
        ),
        (pods("{labels: {x.app.kubernetes.io/a: b}}"), "podTemplate.metadata.labels", "x.app.kubernetes.io/a"),
    ] {
        let says = format!("ingest.{field} has the key {key}, whose prefix");
        refused(apply_as(&namespace, &user, "shop", &integrated), &[&says, "guards.allowedKeyPrefixes"]);
    }
    apply_as(&namespace, &user, "shop", &ingress("{note: hello, cert-manager.io/cluster-issuer: letsencrypt}"))
        .unwrap();
    apply_as(
        &namespace,
        &user,
        "pods",
        &pods("{labels: {team: web, app.kubernetes.io/part-of: shop}, annotations: {prometheus.io/scrape: \"true\"}}"),
    )
    .unwrap();
    namespace.kubectl(&["delete", "etp", "--all", "--timeout=60s"]);
}

/// The policy about keys as an installation that restarts workloads has it, for one namespace, until the end of the test.
struct RestartsPolicy(PathBuf);

impl RestartsPolicy {
    fn new(namespace: &Namespace) -> Self {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/error-tracking-operator");
        let settings =
            format!("restartWorkloads.enabled=true,watchNamespaces={{{}}},image.repository=none", namespace.0);
        let only = "templates/admission/clientkey.yaml";
        let policy = helm(&["template", "restarts", chart, "--set", &settings, "--show-only", only]);
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("restarts-policy.yaml");
        fs::write(&file, policy).unwrap();
        kubectl(&["apply", "-f", file.to_str().unwrap()]);
        Self(file)
    }
}

impl Drop for RestartsPolicy {
    fn drop(&mut self) {
        let _ = try_kubectl(&["delete", "--ignore-not-found", "-f", self.0.to_str().unwrap()]);
    }
}

#[test]
fn restarts_may_only_be_asked_for_by_those_who_may_restart() {
    let _turn = beside_others();
    let namespace = Namespace::new("admission-restarts");
    let _policy = RestartsPolicy::new(&namespace);
    let nobody = tenant(&namespace, "nobody", &[]);
    let may_patch = |resource| rule("apps", resource, "patch", &[]);
    let web = tenant(&namespace, "web", &[may_patch("deployments"), may_patch("statefulsets")]);
    let kinds = ["deployments", "statefulsets", "daemonsets"];
    let restarter = tenant(&namespace, "restarter", &kinds.map(may_patch));
    namespace.project("shop", "{backend: {integrated: {ingest: {replicas: 0}}}}");
    let restarts = "{restartWorkloads: true}";

    let message = |kind: &str, user: &str| format!("restartWorkloads restarts {kind}, which {user} may not patch");
    let answer = wait_for("the policy is asked", SOON, || {
        let answer = apply_key_as(&namespace, &nobody, "first", restarts);
        if answer.is_ok() {
            namespace.kubectl(&["delete", "etk/first"]);
        }
        answer.err()
    });
    let says = message("deployments", &nobody);
    refused(Err(answer), &[&says, "have somebody who may patch deployments.apps in namespace t-admission-restarts"]);
    // Each kind is one that the operator would restart.
    let says = message("daemonsets", &web);
    refused(apply_key_as(&namespace, &web, "first", restarts), &[&says]);
    apply_key_as(&namespace, &restarter, "first", restarts).unwrap();
    apply_key_as(&namespace, &nobody, "plain", "{interval: 2160h}").unwrap();

    // The operator writes to the object, whatever it may patch itself.
    namespace.wait_ready("etk/first");
    assert!(!namespace.get("etk/first", ".metadata.finalizers").is_empty());

    // Who may not restart may do everything else with the key, and take the restarts out.
    let patch =
        |key: &str, patch: &str| namespace.try_kubectl(&["--as", &nobody, "patch", key, "--type=merge", "-p", patch]);
    let rotate = |key: &str| {
        let asked = "errortracking.dev/rotate=2026-01-01T00:00:00Z";
        namespace.try_kubectl(&["--as", &nobody, "annotate", "--overwrite", key, asked])
    };
    let says = message("deployments", &nobody);
    refused(patch("etk/plain", r#"{"spec":{"rotation":{"restartWorkloads":true}}}"#), &[&says]);
    refused(patch("etk/first", r#"{"spec":{"rotation":{"requestedAt":"2026-01-01T00:00:00Z"}}}"#), &[&says]);
    refused(rotate("etk/first"), &[&says]);
    rotate("etk/plain").unwrap();
    patch("etk/first", r#"{"metadata":{"labels":{"team":"web"}},"spec":{"enabled":false}}"#).unwrap();
    patch("etk/first", r#"{"spec":{"rotation":{"restartWorkloads":false}}}"#).unwrap();
    refused(patch("etk/first", r#"{"spec":{"rotation":{"restartWorkloads":true}}}"#), &[&says]);
    apply_key_as(&namespace, &restarter, "plain", restarts).unwrap();
    namespace.kubectl(&["--as", &nobody, "delete", "etk", "--all", "--timeout=60s"]);
    namespace.kubectl(&["delete", "etp", "--all", "--timeout=60s"]);
}

/// Until the end of the test the API server asks nobody.
struct WithoutPolicy(String);

impl WithoutPolicy {
    fn new() -> Self {
        let without = Self(kubectl(&["get", POLICY, "-o", "json"]));
        kubectl(&["delete", POLICY]);
        without
    }
}

impl Drop for WithoutPolicy {
    fn drop(&mut self) {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("policy-binding.json");
        let mut binding: serde_json::Value = serde_json::from_str(&self.0).unwrap();
        for field in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
            binding["metadata"].as_object_mut().unwrap().remove(field);
        }
        fs::write(&file, binding.to_string()).unwrap();
        kubectl(&["apply", "-f", file.to_str().unwrap()]);
    }
}

#[test]
fn what_was_stored_before_the_guard_is_left_out_and_said() {
    let _turn = alone();
    let namespace = Namespace::new("guarded-keys");
    let without = WithoutPolicy::new();
    let spec = r#"{backend: {integrated: {ingest: {replicas: 0, ingress: {host: e.example, annotations: {note: hello,
        nginx.org/server-snippets: "return 200;"}}, podTemplate: {metadata: {labels: {team: web, linkerd.io/inject: enabled}}}}}}}"#;
    let manifest = format!(
        "apiVersion: errortracking.dev/v1alpha1\nkind: ErrorTrackingProject\nmetadata: {{name: shop}}\nspec: {spec}\n"
    );
    wait_for("the policy is not asked any more", SOON, || namespace.try_apply(&manifest).ok());
    drop(without);
    wait_for("the project stalls", SOON, || {
        (namespace.condition("etp/shop", "Stalled", "reason") == "KeyNotAllowed").then_some(())
    });
    let message = namespace.condition("etp/shop", "Stalled", "message");
    println!("{message}");
    assert!(message.contains("ingress.annotations has the key nginx.org/server-snippets"), "{message}");
    let annotations = wait_for("everything else is followed", Duration::from_mins(1), || {
        Some(namespace.get("ingress/shop-ingest", ".metadata.annotations")).filter(|found| !found.is_empty())
    });
    assert!(annotations.contains("hello") && !annotations.contains("nginx.org"), "{annotations}");
    let labels = namespace.get("deploy/shop-ingest", ".spec.template.metadata.labels");
    assert!(labels.contains("web") && !labels.contains("linkerd.io"), "{labels}");

    // It can be corrected a step at a time.
    for path in ["ingress/annotations/nginx.org~1server-snippets", "podTemplate/metadata/labels/linkerd.io~1inject"] {
        let patch = format!(r#"[{{"op":"remove","path":"/spec/backend/integrated/ingest/{path}"}}]"#);
        namespace.kubectl(&["patch", "etp/shop", "--type=json", "-p", &patch]);
    }
    namespace.wait_ready("etp/shop");
    assert!(try_kubectl(&["get", POLICY]).is_ok(), "the policy is asked again");
}
