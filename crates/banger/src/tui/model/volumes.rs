//! What is done with volumes.

use super::Model;
use super::message::{Act, Effect};
use super::notices::Tone;
use crate::usage::draw::bytes;

impl Model {
    /// Asks before a volume goes. One that a VM has stays.
    pub(super) fn ask_before_volume_goes(&mut self) -> Vec<Effect> {
        let Some(volume) = self.volumes.selected() else {
            return Vec::new();
        };
        let name = volume.name.to_string();
        if let Some(user) = volume.users.first() {
            let line = format!("{name} is used by {user} and stays");
            self.say(Tone::Warning, line);
            return Vec::new();
        }
        let lines = vec![format!(
            "{name}, {} of {} in use; its files are deleted permanently",
            bytes(volume.allocated_bytes),
            bytes(volume.size_bytes)
        )];
        let words = ["volume", "delete", &name, "--yes"].map(str::to_owned);
        let act = Act::Command(words.to_vec());
        self.ask_before(lines, &format!("the volume {name}"), name, act)
    }
}
