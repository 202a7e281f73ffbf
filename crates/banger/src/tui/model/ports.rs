//! What listens in the selected VM, and what is done about it.

use banger_api::{Error, Phase, PortView, VmId};

use super::keys::Action;
use super::message::{Effect, Program, Question};
use super::notices::Tone;
use super::{Link, List, Model, Pane, Tab};

/// What listens in a VM.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ports {
    /// The VM.
    pub(super) of: Option<VmId>,
    /// Its ports, by their numbers.
    pub(crate) list: List<PortView>,
}

impl Model {
    /// Whether the ports of a VM are shown.
    pub(crate) fn shows_ports(&self) -> bool {
        self.tab == Tab::Vms && self.pane == Pane::Ports && !self.rooms().pane.is_empty()
    }

    /// Asks for the ports of the VM that is shown, where they are another's.
    pub(super) fn ask_for_ports(&mut self) -> Option<Effect> {
        if !self.shows_ports() || self.link != Link::Up {
            return None;
        }
        let vm = self.vms.selected()?;
        let (id, runs) = (vm.id, vm.phase == Phase::Running);
        if self.ports.of == Some(id) {
            return None;
        }
        self.ports = Ports {
            of: Some(id),
            ..Ports::default()
        };
        runs.then(|| self.ask_ports_again(id))
    }

    /// Asks for the ports of a VM: they are measured as its usage is.
    pub(super) fn ask_ports_again(&mut self, vm: VmId) -> Effect {
        self.ports.list.asked = true;
        Effect::Ask(Question::Ports(vm))
    }

    /// Takes an answer in.
    pub(super) fn ports_answered(&mut self, vm: VmId, ports: Result<Vec<PortView>, Error>) {
        if self.ports.of != Some(vm) {
            return;
        }
        let before = self.ports.list.selected().map(key);
        let ports = ports.map(|mut ports| {
            ports.sort_by_key(key);
            ports
        });
        self.ports.list.take(ports);
        // The cursor is on a port, and not on a line.
        let items = self.ports.list.items.iter().flatten();
        let at = items.map(key).position(|it| Some(it) == before);
        self.ports.list.at = at.unwrap_or(self.ports.list.at);
    }

    /// Opens, forwards or copies the port under the cursor.
    pub(super) fn act_on_port(&mut self, action: Action) -> Vec<Effect> {
        let (Some(vm), Some(port)) = (self.vms.selected(), self.ports.list.selected()) else {
            return Vec::new();
        };
        if action == Action::CopyPort {
            let host = match vm.address {
                Some(address) => address.to_string(),
                None => vm.dns_name.clone(),
            };
            let text = format!("{host}:{}", port.port);
            let what = text.clone();
            return self.copied(text, &what);
        }
        if port.protocol != "tcp" {
            let line = format!(
                "port {} is {}: only TCP is forwarded",
                port.port, port.protocol
            );
            self.say(Tone::Warning, line);
            return Vec::new();
        }
        let verb = if action == Action::OpenPort {
            "open"
        } else {
            "forward"
        };
        let (id, number) = (vm.id.to_string(), port.port.to_string());
        let words = ["vm", verb, &id, &number].map(str::to_owned);
        vec![Effect::Run(Program::Shown(words.to_vec()))]
    }
}

fn key(port: &PortView) -> (u16, String, std::net::IpAddr) {
    (port.port, port.protocol.clone(), port.address)
}

#[cfg(test)]
mod tests {
    use super::super::message::{Answer, Message};
    use super::super::tests::{event, now, three, types, vm};
    use super::*;
    use crate::usage::stats_at;
    use banger_api::Change;

    fn port(number: u16, protocol: &str) -> PortView {
        PortView {
            forwarded_from: Vec::new(),
            protocol: protocol.to_owned(),
            address: [0, 0, 0, 0].into(),
            port: number,
            pid: Some(7),
            process: Some("node".to_owned()),
        }
    }

    fn asked(effects: &[Effect]) -> Vec<Question> {
        let asked = effects.iter().filter_map(|it| match it {
            Effect::Ask(question) => Some(*question),
            _ => None,
        });
        asked.collect()
    }

    fn answered(model: &mut Model, ports: Vec<PortView>) {
        let answer = Answer::Ports(VmId::from_bits(1), Ok(ports));
        model.update(Message::Answer(answer), now());
    }

    #[test]
    fn ports_are_asked_for_where_they_are_shown_and_again_as_usage_is_measured() {
        let mut model = three();
        let id = VmId::from_bits(1);
        assert_eq!(asked(&types(&mut model, "]]")), [Question::Ports(id)]);
        answered(&mut model, vec![port(80, "tcp")]);
        let measured = |second| Message::Measured(id, Ok(Box::new(stats_at(second, 0))));
        let effects = model.update(measured(0), now());
        assert_eq!(asked(&effects), [Question::Ports(id)]);
        let effects = model.update(measured(1), now());
        assert_eq!(asked(&effects), [], "the last answer is awaited");
        assert_eq!(asked(&types(&mut model, "j")), [], "db does not run");
        types(&mut model, "]");
        assert_eq!(asked(&model.update(measured(2), now())), [], "not seen");
    }

    #[test]
    fn the_ports_of_a_new_run_are_asked_for() {
        let mut model = three();
        types(&mut model, "]]");
        answered(&mut model, vec![port(80, "tcp")]);
        let stopped = vm(1, "api", Phase::Stopped);
        model.update(event(2, Change::Vm(Box::new(stopped))), now());
        assert!(
            model.ports.list.items.is_none(),
            "those of a run that ended"
        );
        let started = vm(1, "api", Phase::Running);
        let effects = model.update(event(3, Change::Vm(Box::new(started))), now());
        assert_eq!(asked(&effects), [Question::Ports(VmId::from_bits(1))]);
    }

    #[test]
    fn a_port_is_opened_forwarded_and_copied_by_key() {
        let mut model = three();
        types(&mut model, "]]<tab>");
        answered(&mut model, vec![port(3000, "tcp"), port(53, "udp")]);
        assert!(types(&mut model, "<enter>").is_empty(), "53 is UDP");
        types(&mut model, "j");
        answered(
            &mut model,
            vec![port(22, "tcp"), port(53, "udp"), port(3000, "tcp")],
        );
        for (key, verb) in [("<enter>", "open"), ("f", "forward")] {
            let words = ["vm", verb, "00000001", "3000"].map(str::to_owned).to_vec();
            let wanted = [Effect::Run(Program::Shown(words))];
            assert_eq!(types(&mut model, key), wanted);
        }
        let copied = Effect::Copy("10.215.0.1:3000".to_owned());
        assert_eq!(types(&mut model, "y"), [copied]);
    }
}
