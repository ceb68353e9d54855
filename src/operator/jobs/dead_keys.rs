//! Keys of which somebody still sends with one that is refused.

use std::time::Duration;

use super::named::{Named, Question};
use crate::{
    crd::ClientKey,
    operator::engine::queue::ObjectName,
    store::{
        StoreError,
        admin::{Admin, KeyIdentity},
    },
};

pub struct DeadKeys;

impl Question for DeadKeys {
    type Kind = ClientKey;

    const NAME: &'static str = "dead-keys";
    const INTERVAL: Duration = Duration::from_secs(20);

    async fn ask(admin: &Admin) -> Result<Vec<Named>, StoreError> {
        let keys = admin.objects_of_refused_keys().await?;
        let named =
            |key: KeyIdentity| Named { object: ObjectName::new(&key.namespace, &key.name), uid: key.client_key_uid };
        Ok(keys.into_iter().map(named).collect())
    }
}
