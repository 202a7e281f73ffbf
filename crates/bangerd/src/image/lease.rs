//! Leases on images that no record refers to yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::vm::Images;

/// The leases of one catalog: digests, each with the number of its leases.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases(Arc<Mutex<BTreeMap<String, usize>>>);

impl Leases {
    /// Takes a lease on these images.
    pub(super) fn take(&self, images: Images) -> ImageLease {
        let mut counts = self.counts();
        for digest in [&images.root, &images.kernel] {
            *counts.entry(digest.clone()).or_default() += 1;
        }
        drop(counts);
        ImageLease {
            images,
            leases: self.clone(),
        }
    }

    /// The digests with a lease.
    pub(super) fn digests(&self) -> BTreeSet<String> {
        self.counts().keys().cloned().collect()
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Protects the images of a new VM from being pruned, until it is dropped.
#[derive(Debug)]
pub struct ImageLease {
    images: Images,
    leases: Leases,
}

impl ImageLease {
    /// The protected images.
    #[must_use]
    pub fn images(&self) -> &Images {
        &self.images
    }
}

impl Drop for ImageLease {
    fn drop(&mut self) {
        let mut counts = self.leases.counts();
        for digest in [&self.images.root, &self.images.kernel] {
            if let Some(count) = counts.get_mut(digest) {
                *count -= 1;
            }
        }
        counts.retain(|_, count| *count > 0);
    }
}
