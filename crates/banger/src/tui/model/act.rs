//! What each action does.

use banger_api::Phase;

use super::dialog::{Confirmation, Overlay, Palette};
use super::form::Form;
use super::keys::Action;
use super::message::{AT_ONCE, Act, Effect, Job, Program};
use super::notices::Tone;
use super::words::count;
use super::{Link, Model, Pane, Tab};

impl Model {
    /// Does an action.
    pub(super) fn act(&mut self, action: Action) -> Vec<Effect> {
        if let Some(lines) = self.distance(action) {
            self.scroll(lines);
            return Vec::new();
        }
        match action {
            Action::Quit => self.quit(),
            Action::Suspend => vec![Effect::Suspend],
            Action::Redraw => vec![Effect::Redraw],
            Action::Back => self.back(),
            Action::Help => self.open(Overlay::Help(0)),
            Action::Messages => self.open(Overlay::Messages(0)),
            Action::Palette => {
                let meant = self.vms.meant().iter().map(|vm| vm.id).collect();
                self.open(Overlay::Palette(Palette::new(meant)))
            }
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
            Action::TabVolumes => self.show_tab(Tab::Volumes),
            Action::TabTrash => self.show_tab(Tab::Trash),
            Action::Prompt => {
                let selected = self.vms.selected().map(|vm| &vm.name);
                self.open_form(Form::prompt(selected))
            }
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
            Action::MarkLine if self.is_in_text() => self.text.toggle_anchor(),
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
            Action::Shell | Action::Ssh | Action::Serial => self.shell(action),
            Action::Create => self.create(None),
            Action::CreateFromImage => {
                let image = self.images.selected().map(|it| it.name.clone());
                self.create(image.as_ref())
            }
            Action::Set | Action::Rename | Action::Clone | Action::Export => self.vm_form(action),
            Action::Import => self.open_form(Form::import()),
            Action::Kill | Action::Delete => self.ask_before_end(action == Action::Delete),
            Action::DeleteImage | Action::PruneImages => self.ask_before_image_goes(action),
            Action::BuildImage
            | Action::ImportImage
            | Action::ExportImage
            | Action::RenameImage => self.image_form(action),
            Action::CreateVolume => self.open_form(Form::create_volume()),
            Action::DeleteVolume => self.ask_before_volume_goes(),
            Action::Undelete => self.undelete(),
            Action::Purge | Action::PurgeAll => self.ask_before_purge(action == Action::PurgeAll),
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

    /// Lays something over the screen.
    pub(super) fn open(&mut self, overlay: Overlay) -> Vec<Effect> {
        self.overlay = Some(overlay);
        Vec::new()
    }

    /// Ends, and asks before where that loses commands: what the daemon has been sent goes on without this
    /// program, and what waits here for its turn does not.
    fn quit(&mut self) -> Vec<Effect> {
        let unsent = self.jobs.saturating_sub(AT_ONCE);
        if unsent == 0 {
            return vec![Effect::Quit];
        }
        let commands = count(unsent, "command");
        let line = format!("not sent to the daemon, and not done then: {commands}");
        let question = Confirmation {
            title: "quit?".to_owned(),
            lines: vec![line],
            deletes_vms: false,
            yes: "quit".to_owned(),
            effects: vec![Effect::Quit],
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
}
