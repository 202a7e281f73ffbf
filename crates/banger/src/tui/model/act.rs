//! What each action does.

use banger_api::{ImageName, Phase, VmSpecPatch, VmView};
use tui_input::Input;

use super::dialog::{Confirmation, Overlay, Palette, command_of, end_question};
use super::form::Form;
use super::keys::{Action, Scope};
use super::message::{Act, Defaults, Effect, Job, Program};
use super::notices::Tone;
use super::{Link, Model, Pane, Tab, Typing};

impl Model {
    /// Does an action.
    pub(super) fn act(&mut self, action: Action) -> Vec<Effect> {
        if let Some(lines) = self.distance(action) {
            self.scroll(lines);
            return Vec::new();
        }
        match action {
            Action::Quit => vec![Effect::Quit],
            Action::Suspend => vec![Effect::Suspend],
            Action::Redraw => vec![Effect::Redraw],
            Action::Back => self.back(),
            Action::Help => self.open(Overlay::Help(0)),
            Action::Messages => self.open(Overlay::Messages(0)),
            Action::Palette => self.open(Overlay::Palette(Palette::default())),
            Action::Mouse => {
                self.mouse = !self.mouse;
                let line = if self.mouse {
                    "the mouse is banger's"
                } else {
                    "the mouse is the terminal's: it selects text"
                };
                self.say(Tone::Good, line);
                vec![Effect::Mouse(self.mouse)]
            }
            Action::StartDaemon => self.start_daemon(),
            Action::EditConfig => {
                vec![Effect::Run(Program::Banger(vec![
                    "config".into(),
                    "edit".into(),
                ]))]
            }
            Action::Refresh => self.refreshed(),
            Action::TabVms => self.show_tab(Tab::Vms),
            Action::TabImages => self.show_tab(Tab::Images),
            Action::TabDaemon => self.show_tab(Tab::Daemon),
            Action::TabDoctor => self.show_tab(Tab::Doctor),
            _ => self.act_on_screen(action),
        }
    }

    /// What changes how things are shown, and copies.
    fn act_on_screen(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Find => self.find(),
            Action::NextMatch | Action::PreviousMatch => {
                let forward = action == Action::NextMatch;
                if !self.text.next_match(forward) && !self.text.searched().is_empty() {
                    self.say(
                        Tone::Warning,
                        format!("{:?} is not in it", self.text.searched()),
                    );
                }
            }
            Action::Follow => self.text.set_follow(!self.text.is_following()),
            Action::Left => self.text.move_sideways(-8),
            Action::Right => self.text.move_sideways(8),
            Action::CopyLines | Action::CopyAll => {
                return self.copy_lines(action == Action::CopyAll);
            }
            Action::Mark if self.is_in_text() => self.text.toggle_anchor(),
            Action::Mark => self.vms.toggle_mark(),
            Action::MarkAll => self.vms.toggle_all_marks(),
            Action::SortNext => self.vms.show(|vms| vms.sort = vms.sort.next()),
            Action::SortReverse => self.vms.show(|vms| vms.reverse = !vms.reverse),
            Action::HideStopped => self.vms.show(|vms| vms.hide_stopped = !vms.hide_stopped),
            Action::SwitchFocus => self.pane_focus = self.tab == Tab::Vms && !self.pane_focus,
            Action::NextPane | Action::PreviousPane => self.turn_pane(action == Action::NextPane),
            Action::Zoom => {
                self.zoom = !self.zoom;
                self.pane_focus = self.zoom;
            }
            Action::Console => {
                self.tab = Tab::Vms;
                (self.pane, self.zoom, self.pane_focus) = (Pane::Console, true, true);
            }
            Action::CopyName | Action::CopyAddress | Action::CopySsh => {
                return self.copy_of_vm(action);
            }
            _ => return self.act_on_objects(action),
        }
        Vec::new()
    }

    /// What changes VMs, images and the host.
    fn act_on_objects(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::OpenPort | Action::ForwardPort | Action::CopyPort => self.act_on_port(action),
            Action::CopyFix => self.copy_fix(),
            Action::RunFix => self.run_fix(),
            _ if self.link != Link::Up => {
                self.say(
                    Tone::Warning,
                    "the daemon does not answer: nothing can be done now",
                );
                Vec::new()
            }
            Action::Shell => self.shell(),
            Action::Create => self.create(None),
            Action::CreateFromImage => {
                let image = self.images.selected().map(|it| it.name.clone());
                self.create(image.as_ref())
            }
            Action::Set | Action::Rename => {
                let Some(vm) = self.vms.selected() else {
                    return Vec::new();
                };
                let form = if action == Action::Set {
                    Form::set(vm)
                } else {
                    Form::rename(vm)
                };
                self.open(Overlay::Form(Box::new(form)))
            }
            Action::Kill | Action::Delete => self.ask_before_end(action == Action::Delete),
            Action::DeleteImage | Action::PruneImages => self.ask_before_image_goes(action),
            Action::Start => {
                self.each(|vm| (vm.phase != Phase::Running).then_some(Act::Start { rescue: false }))
            }
            Action::Rescue => {
                self.each(|vm| (vm.phase != Phase::Running).then_some(Act::Start { rescue: true }))
            }
            Action::Stop => self.each(|vm| (vm.phase != Phase::Stopped).then_some(Act::Stop)),
            Action::Restart => self.each(|_| Some(Act::Restart)),
            Action::Nat | Action::Protect | Action::Autostart => self.switch(action),
            _ => Vec::new(),
        }
    }

    fn open(&mut self, overlay: Overlay) -> Vec<Effect> {
        self.overlay = Some(overlay);
        Vec::new()
    }

    /// One step back: what is typed, the search, the marks, the pane, the message, the filter.
    fn back(&mut self) -> Vec<Effect> {
        if self.is_in_text() && self.text.clear() {
        } else if self.zoom || self.pane_focus {
            (self.zoom, self.pane_focus) = (false, false);
        } else if self.vms.clear_marks() || self.notices.dismiss(self.now) {
        } else if self.tab == Tab::Vms {
            self.vms.set_filter("");
        } else {
            self.tab = Tab::Vms;
        }
        Vec::new()
    }

    fn show_tab(&mut self, tab: Tab) -> Vec<Effect> {
        if self.tab == tab {
            return Vec::new();
        }
        self.tab = tab;
        self.typing = None;
        (self.zoom, self.pane_focus) = (false, false);
        self.refreshed()
    }

    fn turn_pane(&mut self, forward: bool) {
        if self.tab != Tab::Vms {
            return;
        }
        let at = Pane::ALL
            .iter()
            .position(|it| *it == self.pane)
            .unwrap_or(0);
        let step = if forward { 1 } else { Pane::ALL.len() - 1 };
        self.pane = Pane::ALL[(at + step) % Pane::ALL.len()];
        self.pane_scroll = 0;
    }

    /// How far an action moves; none for one that does not move.
    fn distance(&self, action: Action) -> Option<isize> {
        let page = match self.tab {
            Tab::Vms if !self.pane_focus => usize::from(self.rooms().list_rows().height),
            Tab::Vms | Tab::Images | Tab::Daemon | Tab::Doctor => self.text_height(),
        };
        let page = isize::try_from(page.max(2)).unwrap_or(2);
        Some(match action {
            Action::Up => -1,
            Action::Down => 1,
            Action::HalfUp => -page / 2,
            Action::HalfDown => page / 2,
            Action::PageUp => 1 - page,
            Action::PageDown => page - 1,
            Action::First => isize::MIN,
            Action::Last => isize::MAX,
            _ => return None,
        })
    }

    /// Moves the cursor of what has the keys.
    pub(super) fn scroll(&mut self, lines: isize) {
        if self.is_in_text() {
            match lines {
                isize::MIN => self.text.first(),
                isize::MAX => self.text.last(),
                _ => self.text.move_by(lines),
            }
            return;
        }
        match self.tab {
            Tab::Vms if self.scope() == Scope::Ports => self.ports.list.move_by(lines),
            Tab::Vms if self.pane_focus => {
                let lines = lines.clamp(-10_000, 10_000) as i32;
                let moved = i32::from(self.pane_scroll).saturating_add(lines);
                self.pane_scroll = u16::try_from(moved.clamp(0, 500)).unwrap_or(0);
            }
            Tab::Vms => self.vms.move_by(lines),
            Tab::Images => self.images.move_by(lines),
            Tab::Doctor => self.checks.move_by(lines),
            Tab::Daemon => {}
        }
    }

    fn find(&mut self) {
        self.typing = if self.is_in_text() {
            Some(Typing::Search(Input::new(self.text.searched().to_owned())))
        } else if self.tab == Tab::Vms {
            self.pane_focus = false;
            Some(Typing::Filter(Input::new(self.vms.filter().to_owned())))
        } else {
            None
        };
    }

    fn shell(&mut self) -> Vec<Effect> {
        let Some(vm) = self.vms.selected() else {
            return Vec::new();
        };
        if vm.phase != Phase::Running {
            let line = format!("{} is {}: start it first", vm.name, vm.phase);
            self.say(Tone::Warning, line);
            return Vec::new();
        }
        let words = ["vm", "ssh", vm.name.as_str()].map(str::to_owned);
        vec![Effect::Run(Program::Banger(words.to_vec()))]
    }

    fn create(&mut self, image: Option<&ImageName>) -> Vec<Effect> {
        let built_in = Defaults {
            image: ImageName::DEFAULT.to_owned(),
            ..Defaults::default()
        };
        let defaults = self.defaults.clone().unwrap_or(built_in);
        let form = Form::create(&defaults, image);
        self.open(Overlay::Form(Box::new(form)))
    }

    /// Has a job done on each VM that is meant, where there is one to do.
    fn each(&mut self, act: impl Fn(&VmView) -> Option<Act>) -> Vec<Effect> {
        let job = |vm: &&VmView| {
            Some(Effect::Work(Job {
                vm: Some(vm.id),
                name: vm.name.to_string(),
                act: act(vm)?,
            }))
        };
        let meant = self.vms.meant();
        let effects: Vec<_> = meant.iter().filter_map(job).collect();
        if effects.is_empty()
            && let Some(vm) = meant.first()
        {
            let line = match meant.len() {
                1 => format!("{} is {} already", vm.name, vm.phase),
                _ => "there is nothing to do for any of them".to_owned(),
            };
            self.say(Tone::Warning, line);
        }
        self.started(effects)
    }

    /// Turns a setting the other way; of several VMs, on unless all have it.
    fn switch(&mut self, action: Action) -> Vec<Effect> {
        let has = |vm: &VmView| match action {
            Action::Nat => vm.next().nat,
            Action::Protect => vm.next().protected,
            _ => vm.next().autostart,
        };
        let on = !self.vms.meant().iter().all(|vm| has(vm));
        self.each(|_| {
            let mut patch = VmSpecPatch::default();
            match action {
                Action::Nat => patch.nat = Some(on),
                Action::Protect => patch.protected = Some(on),
                _ => patch.autostart = Some(on),
            }
            Some(Act::Set(patch))
        })
    }

    fn ask_before_end(&mut self, delete: bool) -> Vec<Effect> {
        let meant = self.vms.meant();
        let meant: Vec<_> = meant
            .into_iter()
            .filter(|vm| delete || vm.phase != Phase::Stopped)
            .collect();
        let question = end_question(&meant, delete);
        if !question.effects.is_empty() {
            return self.open(Overlay::Question(Box::new(question)));
        }
        let line = match meant.first() {
            Some(vm) => format!("{} is protected: unprotect it first", vm.name),
            None if delete => "there is no VM".to_owned(),
            None => "it does not run".to_owned(),
        };
        self.say(Tone::Warning, line);
        Vec::new()
    }

    fn ask_before_image_goes(&mut self, action: Action) -> Vec<Effect> {
        let (title, yes, lines, act, name) = if action == Action::PruneImages {
            let what = "images without a name that nobody uses".to_owned();
            (
                format!("delete {what}?"),
                format!("delete {what}"),
                Vec::new(),
                Act::PruneImages,
                what,
            )
        } else {
            let Some(image) = self.images.selected() else {
                return Vec::new();
            };
            if let Some(user) = image.users.first() {
                let line = format!("{} is used by {user} and stays", image.name);
                self.say(Tone::Warning, line);
                return Vec::new();
            }
            let name = image.name.to_string();
            let lines = vec![format!("{name}, {}", image.origin)];
            let act = Act::DeleteImage(image.name.clone());
            (
                format!("delete the image {name}?"),
                format!("delete {name}"),
                lines,
                act,
                name,
            )
        };
        let job = Job {
            vm: None,
            name,
            act,
        };
        let question = Confirmation {
            title,
            lines,
            yes,
            effects: vec![Effect::Work(job)],
        };
        self.open(Overlay::Question(Box::new(question)))
    }

    fn start_daemon(&mut self) -> Vec<Effect> {
        if self.link == Link::Up {
            self.say(Tone::Warning, "the daemon is running");
            return Vec::new();
        }
        let name = "the daemon".to_owned();
        self.started(vec![Effect::Work(Job {
            vm: None,
            name,
            act: Act::StartDaemon,
        })])
    }

    /// Copies, and says so.
    pub(super) fn copied(&mut self, text: String, what: &str) -> Vec<Effect> {
        self.say(Tone::Good, format!("copied {what}"));
        vec![Effect::Copy(text)]
    }

    fn copy_lines(&mut self, all: bool) -> Vec<Effect> {
        if !self.is_in_text() {
            return Vec::new();
        }
        let lines = self.text.copied(all);
        let what = match lines.len() {
            1 => "1 line".to_owned(),
            count => format!("{count} lines"),
        };
        self.copied(lines.join("\n"), &what)
    }

    fn copy_of_vm(&mut self, action: Action) -> Vec<Effect> {
        let Some(vm) = self.vms.selected() else {
            return Vec::new();
        };
        let text = match action {
            Action::CopyName => Some(vm.name.to_string()),
            Action::CopySsh => Some(format!("banger vm ssh {}", vm.name)),
            _ => match (vm.address, &vm.ssh) {
                (Some(address), _) => Some(address.to_string()),
                (None, Some(ssh)) => Some(format!("{}:{}", ssh.host, ssh.port)),
                (None, None) => None,
            },
        };
        match text {
            Some(text) => {
                let what = text.clone();
                self.copied(text, &what)
            }
            None => {
                let line = format!("{} has no address now", vm.name);
                self.say(Tone::Warning, line);
                Vec::new()
            }
        }
    }

    fn copy_fix(&mut self) -> Vec<Effect> {
        let Some(check) = self.checks.selected() else {
            return Vec::new();
        };
        let command = check.fix.as_ref().map(command_of);
        let text = command.or_else(|| check.hints.first().cloned());
        match text {
            Some(text) => {
                let what = text.clone();
                self.copied(text, &what)
            }
            None => {
                self.say(Tone::Warning, "there is nothing to fix");
                Vec::new()
            }
        }
    }

    fn run_fix(&mut self) -> Vec<Effect> {
        let fix = self.checks.selected().and_then(|it| it.fix.clone());
        let Some(fix) = fix else {
            self.say(Tone::Warning, "no command fixes it");
            return Vec::new();
        };
        let question = Confirmation {
            title: format!("{}?", fix.what),
            lines: vec![format!("runs: {}", command_of(&fix))],
            yes: "run it".to_owned(),
            effects: vec![Effect::Run(Program::Fix(fix))],
        };
        self.open(Overlay::Question(Box::new(question)))
    }
}
