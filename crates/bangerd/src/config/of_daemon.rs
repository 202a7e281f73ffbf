//! The effective configuration of a daemon.

use banger_api::Result;
use banger_api::configuration::Overrides;
use banger_api::location::Location;
use banger_host::Claim;

use super::Config;

impl Config {
    /// The configuration of a daemon that starts now: defaults, root's settings for this user, the
    /// file, and variables.
    ///
    /// # Errors
    /// As [`Config::load`], and for a variable with an invalid value.
    pub fn of_daemon(location: &Location, overrides: &Overrides, simulated: bool) -> Result<Self> {
        let mut config = defaults(location, simulated).overlaid(&location.config)?;
        config = config.overridden(overrides)?;
        if simulated {
            // The DNS would return addresses that belong to others.
            config.dns_port = 0;
        }
        Ok(config)
    }
}

/// The defaults, with the network and the port that root reserves for this user and this state
/// directory, if any.
fn defaults(location: &Location, simulated: bool) -> Config {
    let uid = rustix::process::geteuid();
    if simulated || uid.is_root() {
        return Config::default();
    }
    match Claim::of(uid.as_raw()) {
        Ok(Some(claim)) if claim.is_for(&location.state) => Config::granted(&claim),
        Ok(_) => Config::default(),
        Err(error) => {
            tracing::warn!(%error, "root's settings for this user are unknown");
            Config::default()
        }
    }
}
