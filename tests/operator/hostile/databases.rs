//! Databases of a tenant's own that are as slow as they can be.

use std::time::Duration;

use super::{Attack, Bystander, Outcome};
use crate::world::{INSTALLATION, Namespace, allow_database_hosts, pause, sql, sql_in, wait_for};

pub const ATTACKS: &[Attack] =
    &[Attack { name: "a database that answers the first look and then sleeps", make: sleeps }];

const SLEEP: &str = "
    CREATE OR REPLACE FUNCTION public.sleep() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN PERFORM pg_sleep(600); RETURN NEW; END';
    CREATE TRIGGER sleep BEFORE INSERT OR UPDATE ON errortracking.projects FOR EACH ROW EXECUTE FUNCTION public.sleep();
    CREATE TRIGGER sleep BEFORE INSERT OR UPDATE ON errortracking.client_keys FOR EACH ROW EXECUTE FUNCTION public.sleep()";

fn sleeps(bystander: &Bystander) -> Outcome {
    let host = format!("{INSTALLATION}-postgresql.{INSTALLATION}.svc");
    allow_database_hosts(Some(&host));
    let namespace = Namespace::new("sleeper");
    sql("DROP DATABASE IF EXISTS sleeper WITH (FORCE)");
    sql("DROP ROLE IF EXISTS sleeper");
    sql("CREATE ROLE sleeper LOGIN PASSWORD 'sleeper'");
    sql("CREATE DATABASE sleeper OWNER sleeper");
    let uri = format!("--from-literal=uri=postgresql://sleeper:sleeper@{host}:5432/sleeper");
    namespace.kubectl(&["create", "secret", "generic", "pg", &uri]);
    let spec = "{backend: {integrated: {database: {secretRef: {name: pg}}, ingest: {replicas: 0}}}}";
    namespace.project("first", spec);
    namespace.wait_ready("etp/first");
    sql_in("sleeper", SLEEP);
    for number in 0..20 {
        namespace.project(&format!("slow-{number}"), spec);
        namespace.key(&format!("slow-{number}"), "{projectRef: {name: first}}");
    }
    pause(Duration::from_secs(3));
    let mut waited = Duration::ZERO;
    for _ in 0..3 {
        waited = waited.max(bystander.waits_for_a_project()).max(bystander.waits_for_a_key());
        pause(Duration::from_secs(10));
    }
    let told = wait_for("the tenant is told", Duration::from_mins(3), || {
        let told = namespace.messages("etp", "Ready");
        told.lines().find(|message| message.contains("did not answer in time")).map(str::to_owned)
    });
    Outcome { held: Ok(told), waited }
}
