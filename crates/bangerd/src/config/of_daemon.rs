//! The configuration that a daemon of these places runs on.

use banger_api::Result;
use banger_api::configuration::Overrides;
use banger_api::location::Location;
use banger_host::Claim;

use super::Config;

impl Config {
    /// What a daemon that starts now would run on: the defaults, what root grants this user, what the
    /// file says, and what variables say.
    ///
    /// # Errors
    /// As [`Config::load`], and for a variable whose value its key does not take.
    pub fn of_daemon(location: &Location, overrides: &Overrides, simulated: bool) -> Result<Self> {
        let mut config = defaults(location, simulated).overlaid(&location.config)?;
        config = config.overridden(overrides)?;
        if simulated {
            // A name would lead whoever asks to an address that is somebody else's.
            config.dns_port = 0;
        }
        Ok(config)
    }
}

/// What holds where the file does not say: the network and the port that root keeps for this user
/// and this state directory, where it does.
fn defaults(location: &Location, simulated: bool) -> Config {
    let uid = rustix::process::geteuid();
    if simulated || uid.is_root() {
        return Config::default();
    }
    match Claim::of(uid.as_raw()) {
        Ok(Some(claim)) if claim.is_for(&location.state) => Config::granted(&claim),
        Ok(_) => Config::default(),
        Err(error) => {
            tracing::warn!(%error, "what root keeps for this user is not known");
            Config::default()
        }
    }
}
