//! Whose a request is, where the callers of a backend share its queue.
//!
//! Owns: from the field that names the tenant to its account and its share.
//! Must not: believe more than the operator does: what the field says is who asks.
//! Read next: [`super::queue`], which is fair between them; `lanes.rs`, by which counters.

use std::collections::HashMap;

use ringway_contract::snapshot;

use super::queue::{TenantId, Weight};

/// On whose account a request waits and is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whose it is.
    pub tenant: TenantId,
    /// The tenant's share.
    pub weight: Weight,
}

impl Account {
    /// Of all callers, where nobody tells them apart.
    pub const EVERYONE: Self = Self { tenant: TenantId::EVERYONE, weight: Weight::ONE };
}

/// How tenants are told apart, and what each may have.
#[derive(Debug)]
pub struct Tenants {
    header: Box<str>,
    weights: HashMap<TenantId, Weight>,
}

impl Tenants {
    /// As the snapshot says.
    pub fn new(from: &snapshot::Tenants) -> Self {
        let weights = from.weights.iter();
        Self {
            header: from.header.as_str().into(),
            weights: weights
                .map(|(name, share)| (TenantId::named(name.as_bytes()), Weight::new(*share)))
                .collect(),
        }
    }

    /// The field that names the tenant.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// The account of a request with this value there. Requests without one are a tenant of their own: else who leaves it
    /// out would be under no bound.
    pub fn account(&self, value: Option<&[u8]>) -> Account {
        let tenant = TenantId::named(value.unwrap_or_default());
        Account { tenant, weight: self.weights.get(&tenant).copied().unwrap_or(Weight::ONE) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_tenant_is_who_the_field_says_and_who_says_nothing_is_one_too() {
        let weights = BTreeMap::from([("acme".to_owned(), 3)]);
        let tenants = Tenants::new(&snapshot::Tenants { header: "x-tenant".to_owned(), weights });
        let (acme, other) = (tenants.account(Some(b"acme")), tenants.account(Some(b"other")));
        assert_eq!((acme.weight, other.weight), (Weight::new(3), Weight::ONE));
        assert_eq!(tenants.account(Some(b"acme")), acme);
        let nobody = tenants.account(None);
        let all = [acme.tenant, other.tenant, nobody.tenant, TenantId::EVERYONE];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
    }
}
