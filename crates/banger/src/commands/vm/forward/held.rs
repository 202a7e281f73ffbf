//! Forwards that the daemon holds: add, list, remove.

use std::process::ExitCode;

use banger_api::{
    AddForwards, Code, Endpoint, Error, ForwardState, ForwardView, Phase, RemoveForwards, Result,
    VmView,
};

use super::{Forward, Rule, of_vm};
use crate::columns::columns;
use crate::failure::Outcome;
use crate::output::clean;
use crate::session::Session;

/// The word for all forwards.
const ALL: &str = "all";

impl Forward {
    /// Has the daemon hold the forwards.
    pub(super) fn hold(&self, session: &Session) -> Outcome {
        let daemon = session.daemon()?;
        let vm = daemon.show(&self.one.name)?;
        if let Some(remote) = &session.places.remote {
            return Err(elsewhere(remote.name(), &vm).into());
        }
        let request = AddForwards {
            forwards: self.forwards()?,
            keep: self.keep,
        };
        let views = daemon.add_forwards(&vm.id.into(), &request)?;
        let lines = || {
            let lines: Vec<String> = views.iter().map(|it| arrow(&vm, it)).collect();
            lines.join("\n")
        };
        session.output.result(&views, lines)?;
        if vm.phase != Phase::Running {
            let name = &vm.name;
            session.output.note(&format!(
                "{name} is {}; it is forwarded while {name} runs: banger vm start {name}",
                vm.phase
            ));
        }
        self.warn_of_others(session);
        Ok(ExitCode::SUCCESS)
    }

    /// Prints those that the daemon holds.
    pub(super) fn list(&self, session: &Session) -> Outcome {
        let daemon = session.daemon()?;
        let vm = daemon.show(&self.one.name)?;
        let views = daemon.forwards(&vm.id.into())?;
        if views.is_empty() && !session.output.json {
            session.output.note(&format!(
                "no forwards of {} are held; add one: banger vm forward {} 8080:80 --keep",
                vm.name, vm.name
            ));
            return Ok(ExitCode::SUCCESS);
        }
        session.output.result(&views, || table(&vm, &views))?;
        if let Some(remote) = &session.places.remote {
            let host = remote.name();
            session.output.note(&format!(
                "these are ports and sockets of `{host}`, not of this machine"
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Removes some or all of those.
    pub(super) fn remove(&self, session: &Session) -> Outcome {
        let daemon = session.daemon()?;
        let vm = daemon.show(&self.one.name)?;
        let all = self.remove.iter().any(|it| it == ALL);
        let mut request = RemoveForwards {
            all,
            ..RemoveForwards::default()
        };
        if !all {
            for text in &self.remove {
                let found = named(&vm, text)?.forward();
                if !request.forwards.contains(&found) {
                    request.forwards.push(found);
                }
            }
        }
        let views = daemon.remove_forwards(&vm.id.into(), &request)?;
        if views.is_empty() && !session.output.json {
            session
                .output
                .note(&format!("no forwards of {} are held", vm.name));
            return Ok(ExitCode::SUCCESS);
        }
        if session.output.json || !session.output.quiet {
            let lines = || {
                let lines = views.iter().map(|it| format!("removed {}", arrow(&vm, it)));
                lines.collect::<Vec<_>>().join("\n")
            };
            session.output.result(&views, lines)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A daemon of another machine listens there.
fn elsewhere(host: &str, vm: &VmView) -> Error {
    let name = &vm.name;
    let text = format!("a forward that the daemon of `{host}` holds listens on `{host}`, not here");
    Error::new(Code::Invalid, text)
        .hint(format!(
            "have this machine listen: banger --host {host} vm forward {name} 8080:80"
        ))
        .hint(format!(
            "have `{host}` listen, in a shell there: banger vm forward {name} 8080:80 --keep"
        ))
}

/// The one forward of a VM that a user means: by where it listens, or by the whole rule.
fn named<'v>(vm: &'v VmView, text: &str) -> Result<&'v ForwardView> {
    let rule: Option<Rule> = text.parse().ok();
    let is_rule = |it: &&ForwardView| {
        let is_both = |rule: &Rule| {
            text.contains(':') && it.listen == rule.listen && it.target == rule.target
        };
        rule.as_ref().is_some_and(is_both)
    };
    let listens_there = |it: &&ForwardView| {
        let is_port = matches!(it.listen, Endpoint::Tcp(_, port) if text.parse() == Ok(port));
        is_port || it.listen.to_string() == text
    };
    let mut found: Vec<&ForwardView> = vm.forwards.iter().filter(is_rule).collect();
    if found.is_empty() {
        found = vm.forwards.iter().filter(listens_there).collect();
    }
    let name = &vm.name;
    match found.as_slice() {
        [only] => Ok(only),
        [] => Err(
            Error::new(Code::NotFound, format!("`{name}` has no forward `{text}`")).hint(format!(
                "see those that it has: banger vm forward {name} --list"
            )),
        ),
        several => {
            let rules: Vec<String> = several.iter().map(|it| it.forward().to_string()).collect();
            let text = format!("`{text}` is {} forwards of `{name}`", several.len());
            Err(Error::new(Code::Conflict, text)
                .cause(rules.join(", "))
                .hint("name one as a whole, such as 127.0.0.1:8080:80"))
        }
    }
}

/// Where it listens and what it reaches, in a line.
pub(crate) fn arrow(vm: &VmView, view: &ForwardView) -> String {
    let [listen, target] = ends(vm, view);
    let kept = if view.kept { ", kept" } else { "" };
    let state = match (view.state, &view.reason) {
        (ForwardState::Listening, _) => String::new(),
        (state, None) => format!(" ({state})"),
        (state, Some(reason)) => format!(" ({state}: {})", clean(reason)),
    };
    format!("{listen} → {target}{kept}{state}")
}

fn ends(vm: &VmView, view: &ForwardView) -> [String; 2] {
    let in_vm = |endpoint| of_vm(vm.name.as_str(), endpoint);
    if view.reverse {
        [in_vm(&view.listen), view.target.to_string()]
    } else {
        [view.listen.to_string(), in_vm(&view.target)]
    }
}

fn table(vm: &VmView, views: &[ForwardView]) -> String {
    let head = ["LISTENS ON", "REACHES", "KEPT", "STATE"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    for view in views {
        let [listen, target] = ends(vm, view);
        let kept = if view.kept { "yes" } else { "no" }.to_owned();
        let state = match &view.reason {
            Some(reason) => format!("{}: {}", view.state, clean(reason)),
            None => view.state.to_string(),
        };
        rows.push(vec![listen, target, kept, state]);
    }
    columns(&rows, |_, _, _| None)
}

#[cfg(test)]
mod tests {
    use super::super::super::description::tests::calm_otter;
    use super::*;

    fn view(listen: &str, target: &str, reverse: bool) -> ForwardView {
        ForwardView {
            listen: listen.parse().unwrap(),
            target: target.parse().unwrap(),
            reverse,
            kept: reverse,
            state: ForwardState::Listening,
            reason: None,
        }
    }

    fn vm() -> VmView {
        VmView {
            forwards: vec![
                view("127.0.0.1:8080", "80", false),
                view("[::1]:8080", "80", false),
                view("127.0.0.1:5432", "5432", false),
                view("127.0.0.1:5432", "/run/pg.sock", true),
                view("/run/user/1/d.sock", "/run/docker.sock", false),
            ],
            ..calm_otter()
        }
    }

    #[test]
    fn a_forward_is_named_by_its_port_its_place_or_its_rule() {
        let vm = vm();
        let found = |text: &str| named(&vm, text).map(|it| it.forward().to_string());
        for (text, expected) in [
            ("8080:80", "127.0.0.1:8080:localhost:80"),
            ("[::1]:8080", "[::1]:8080:localhost:80"),
            ("5432:5432", "127.0.0.1:5432:localhost:5432"),
            ("5432:/run/pg.sock", "-R 127.0.0.1:5432:/run/pg.sock"),
            ("/run/user/1/d.sock", "/run/user/1/d.sock:/run/docker.sock"),
        ] {
            assert_eq!(found(text).unwrap(), expected, "{text}");
        }
        for several in ["8080", "5432", "127.0.0.1:5432"] {
            assert_eq!(found(several).unwrap_err().code, Code::Conflict);
        }
        for none in ["81", "8080:81", "/run", ""] {
            assert_eq!(found(none).unwrap_err().code, Code::NotFound, "{none}");
        }
    }

    #[test]
    fn what_failed_says_why() {
        let vm = vm();
        let failed = ForwardView {
            state: ForwardState::Failed,
            reason: Some("127.0.0.1:5432 is in use".to_owned()),
            ..vm.forwards[3].clone()
        };
        assert_eq!(
            arrow(&vm, &vm.forwards[0]),
            "127.0.0.1:8080 → calm-otter:80"
        );
        assert_eq!(
            arrow(&vm, &failed),
            "127.0.0.1:5432 in calm-otter → /run/pg.sock, kept (failed: 127.0.0.1:5432 is in use)"
        );
        assert_eq!(
            table(&vm, &[vm.forwards[0].clone(), failed]),
            "LISTENS ON                    REACHES        KEPT  STATE\n\
             127.0.0.1:8080                calm-otter:80  no    listening\n\
             127.0.0.1:5432 in calm-otter  /run/pg.sock   yes   failed: 127.0.0.1:5432 is in use\n"
        );
    }
}
