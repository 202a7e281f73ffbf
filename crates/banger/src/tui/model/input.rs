//! Keys: to what lies over the screen, to what is typed, else by the key table.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler as _;

use super::dialog::{Overlay, Palette};
use super::form::{Form, FormOutcome, Surroundings};
use super::keys::{Action, Binding, Key, Scope};
use super::message::{Act, Effect, Job, Program};
use super::notices::Tone;
use super::{Model, Typing};

impl Model {
    /// A key.
    pub(super) fn key(&mut self, key: KeyEvent) -> Vec<Effect> {
        if key.kind == KeyEventKind::Release {
            return Vec::new();
        }
        // The cursor stays where the user works.
        self.awaited = None;
        // These two work whatever has the keys: one closes it, one stops the program.
        if key.modifiers.contains(KeyModifiers::CONTROL) && self.overlay.is_some() {
            match key.code {
                KeyCode::Char('c') => return self.closed(),
                KeyCode::Char('z') => return vec![Effect::Suspend],
                _ => {}
            }
        }
        match self.overlay.take() {
            Some(overlay) => self.overlay_key(overlay, key),
            None => match self.typing.take() {
                Some(typing) => self.typing_key(typing, key),
                None => match self.keys.action(Key::from(key), self.scope()) {
                    Some(action) => self.act(action),
                    None => Vec::new(),
                },
            },
        }
    }

    fn closed(&mut self) -> Vec<Effect> {
        self.overlay = None;
        Vec::new()
    }

    fn overlay_key(&mut self, overlay: Overlay, key: KeyEvent) -> Vec<Effect> {
        match overlay {
            Overlay::Question(question) => match key.code {
                KeyCode::Char('y') => self.started(question.effects),
                KeyCode::Esc | KeyCode::Char('n' | 'q') => Vec::new(),
                // Enter and whatever else leave it as it is: nothing goes by a key too many.
                _ => {
                    self.overlay = Some(Overlay::Question(question));
                    Vec::new()
                }
            },
            Overlay::Form(form) => self.form_key(form, key),
            Overlay::Palette(palette) => self.palette_key(palette, key),
            Overlay::Help(at) => self.reading_key(key, at, Overlay::Help),
            Overlay::Messages(at) => self.reading_key(key, at, Overlay::Messages),
        }
    }

    fn form_key(&mut self, mut form: Box<Form>, key: KeyEvent) -> Vec<Effect> {
        match form.key(key, &self.surroundings()) {
            FormOutcome::Open => {
                self.overlay = Some(Overlay::Form(form));
                Vec::new()
            }
            FormOutcome::Cancelled => Vec::new(),
            FormOutcome::Run(words) => vec![Effect::Run(Program::Shown(words))],
            FormOutcome::Complete(job) => {
                if let Act::Create(request) = &job.act {
                    self.awaited.clone_from(&request.name);
                }
                self.drafts.send((*job).clone(), *form);
                self.started(vec![Effect::Work(*job)])
            }
        }
    }

    /// What a form is judged by.
    pub(super) fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            names: self.vms.all().map(|vm| &vm.name).collect(),
            images: self
                .images
                .items
                .iter()
                .flatten()
                .map(|it| &it.name)
                .collect(),
            volumes: self
                .volumes
                .items
                .iter()
                .flatten()
                .map(|it| &it.name)
                .collect(),
        }
    }

    fn palette_key(&mut self, mut palette: Palette, key: KeyEvent) -> Vec<Effect> {
        match key.code {
            KeyCode::Esc => return Vec::new(),
            KeyCode::Enter => {
                return match palette.chosen() {
                    Some(binding) if !self.means_the_same(&palette, binding) => {
                        let line = "the selected VM is another one now: nothing was done";
                        self.say(Tone::Warning, line);
                        Vec::new()
                    }
                    Some(binding) => self.act(binding.action),
                    None => Vec::new(),
                };
            }
            KeyCode::Down | KeyCode::Tab => palette.move_by(1),
            KeyCode::Up | KeyCode::BackTab => palette.move_by(-1),
            KeyCode::PageDown => palette.move_by(10),
            KeyCode::PageUp => palette.move_by(-10),
            _ => palette.type_key(key),
        }
        self.overlay = Some(Overlay::Palette(palette));
        Vec::new()
    }

    /// Whether an action is for VMs that were meant when the palette was opened.
    fn means_the_same(&self, palette: &Palette, binding: &Binding) -> bool {
        let mut meant = self.vms.meant().into_iter();
        binding.scope != Scope::Vms || meant.all(|vm| palette.meant.contains(&vm.id))
    }

    /// The keys of what is only read.
    fn reading_key(&mut self, key: KeyEvent, at: u16, overlay: fn(u16) -> Overlay) -> Vec<Effect> {
        let page = self.size.1.saturating_sub(6).max(1);
        let action = self.keys.action(Key::from(key), Scope::Everywhere);
        let at = match action {
            Some(Action::Down) => at.saturating_add(1),
            Some(Action::Up) => at.saturating_sub(1),
            Some(Action::HalfDown | Action::PageDown) => at.saturating_add(page),
            Some(Action::HalfUp | Action::PageUp) => at.saturating_sub(page),
            Some(Action::First) => 0,
            Some(Action::Last) => u16::MAX,
            Some(Action::Redraw) => {
                self.overlay = Some(overlay(at));
                return vec![Effect::Redraw];
            }
            _ if key.code == KeyCode::Char('y') && matches!(overlay(at), Overlay::Messages(_)) => {
                self.overlay = Some(overlay(at));
                let newest = self.notices.all().next().map(|it| it.whole.clone());
                return newest
                    .map(|it| self.copied(it, "the newest message"))
                    .unwrap_or_default();
            }
            _ => return Vec::new(),
        };
        let lines = match overlay(at) {
            Overlay::Messages(_) => self.notices.rows(self.message_width()).len(),
            _ => super::keys::help_lines(),
        };
        let room = usize::from(self.size.1.saturating_sub(4));
        let last = u16::try_from(lines.saturating_sub(room)).unwrap_or(u16::MAX);
        self.overlay = Some(overlay(at.min(last)));
        Vec::new()
    }

    /// How wide the lines of the messages are.
    pub(crate) fn message_width(&self) -> usize {
        usize::from(self.size.0.saturating_sub(6))
    }

    fn typing_key(&mut self, typing: Typing, key: KeyEvent) -> Vec<Effect> {
        let (mut input, is_filter) = match typing {
            Typing::Filter(input) => (input, true),
            Typing::Search(input) => (input, false),
        };
        match key.code {
            KeyCode::Enter => {}
            KeyCode::Esc => {
                if is_filter {
                    self.vms.set_filter("");
                } else {
                    self.text.clear();
                }
            }
            // The list can be walked while it is filtered.
            KeyCode::Down | KeyCode::Up if is_filter => {
                self.vms
                    .move_by(if key.code == KeyCode::Down { 1 } else { -1 });
                self.typing = Some(Typing::Filter(input));
            }
            _ => {
                input.handle_event(&Event::Key(key));
                self.typed(input, is_filter);
            }
        }
        Vec::new()
    }

    fn typed(&mut self, input: Input, is_filter: bool) {
        if is_filter {
            self.vms.set_filter(input.value());
            self.typing = Some(Typing::Filter(input));
        } else {
            self.text.search(input.value());
            self.typing = Some(Typing::Search(input));
        }
    }

    /// Text that was pasted: it is typed, and never taken as keys.
    pub(super) fn paste(&mut self, text: &str) -> Vec<Effect> {
        let line = text.lines().next().unwrap_or_default();
        match (self.overlay.take(), self.typing.take()) {
            (Some(Overlay::Form(mut form)), _) => {
                form.paste(line, &self.surroundings());
                self.overlay = Some(Overlay::Form(form));
            }
            (Some(Overlay::Palette(mut palette)), _) => {
                palette.input = Input::new(format!("{}{line}", palette.input.value()));
                self.overlay = Some(Overlay::Palette(palette));
            }
            (None, Some(Typing::Filter(input))) => {
                self.typed(Input::new(format!("{}{line}", input.value())), true);
            }
            (None, Some(Typing::Search(input))) => {
                self.typed(Input::new(format!("{}{line}", input.value())), false);
            }
            (overlay, typing) => {
                self.overlay = overlay;
                self.typing = typing;
            }
        }
        Vec::new()
    }

    /// Has jobs done, and counts them.
    pub(super) fn started(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let jobs: Vec<&Job> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Work(job) => Some(job),
                _ => None,
            })
            .collect();
        self.jobs += jobs.len();
        if let [first, _, ..] = jobs.as_slice() {
            let line = format!("{} {} VMs …", first.act.verb(), jobs.len());
            self.say(Tone::Good, line);
        }
        effects
    }
}
