//! Forms: what a verb needs to know. What is typed is judged at once.

mod command;
mod field;
mod vm;

#[cfg(test)]
mod tests;

use banger_api::{VmId, VmName, VmSpec};
use crossterm::event::{Event, KeyCode, KeyEvent};
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler as _;

use super::message::{Job, Question};
use field::switch;

pub(crate) use field::{Field, Kind, Surroundings};

/// What a form is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A new VM.
    Create,
    /// Other settings of this VM, which has these now.
    Set(VmId, Box<VmSpec>),
    /// Another name of this VM.
    Rename(VmId),
    /// A command of banger, which begins with these words.
    Command(Vec<String>),
    /// A command of banger that is typed whole; it may name this VM.
    Typed(Option<VmName>),
}

/// A form.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    pub(crate) purpose: Purpose,
    pub(crate) title: String,
    /// The name of what it is about, for messages.
    pub(super) name: String,
    pub(crate) fields: Vec<Field>,
    /// The field that is typed in.
    pub(crate) at: usize,
}

/// What a key has done to a form.
#[derive(Debug, PartialEq)]
pub(crate) enum FormOutcome {
    /// It goes on.
    Open,
    /// It is closed without an act.
    Cancelled,
    /// It is complete.
    Complete(Box<Job>),
    /// These words are to be run in place.
    Run(Vec<String>),
}

impl Form {
    /// What a key does.
    pub(crate) fn key(&mut self, key: KeyEvent, around: &Surroundings<'_>) -> FormOutcome {
        let count = self.fields.len();
        let is_switch = self.fields[self.at].is_switch();
        match key.code {
            KeyCode::Esc => return FormOutcome::Cancelled,
            KeyCode::Enter => return self.complete(around),
            KeyCode::Down | KeyCode::Tab => self.at = (self.at + 1) % count,
            KeyCode::Up | KeyCode::BackTab => self.at = (self.at + count - 1) % count,
            KeyCode::Char(' ') | KeyCode::Left | KeyCode::Right if is_switch => {
                let field = &mut self.fields[self.at];
                field.input = Input::new(switch(!field.is_on()).to_owned());
            }
            KeyCode::Left | KeyCode::Right
                if self.fields[self.at].kind == Kind::Image && !around.images.is_empty() =>
            {
                self.turn_image(key.code == KeyCode::Right, around);
            }
            _ if is_switch => {}
            _ => {
                self.fields[self.at].input.handle_event(&Event::Key(key));
            }
        }
        self.judge(around);
        FormOutcome::Open
    }

    /// What is asked when it is opened: what it is judged by, and the defaults that it shows.
    pub(crate) fn questions(&self) -> Vec<Question> {
        let has = |kinds: &[Kind]| self.fields.iter().any(|it| kinds.contains(&it.kind));
        let mut questions = Vec::new();
        questions.extend(has(&[Kind::Image, Kind::NewImage]).then_some(Question::Images));
        questions.extend(has(&[Kind::Volumes, Kind::NewVolume]).then_some(Question::Volumes));
        questions.extend((self.purpose == Purpose::Create).then_some(Question::Defaults));
        questions
    }

    /// Text that was pasted.
    pub(crate) fn paste(&mut self, text: &str, around: &Surroundings<'_>) {
        let field = &mut self.fields[self.at];
        if !field.is_switch() {
            let line = text.lines().next().unwrap_or_default();
            let value = format!("{}{line}", field.input.value());
            field.input = Input::new(value);
            self.judge(around);
        }
    }

    /// The next image of those that there are, or the previous one.
    fn turn_image(&mut self, forward: bool, around: &Surroundings<'_>) {
        let field = &mut self.fields[self.at];
        let now = field.text().unwrap_or(&field.default).to_owned();
        let count = around.images.len();
        let at = around.images.iter().position(|it| it.as_str() == now);
        let next = match (at, forward) {
            (None, _) => 0,
            (Some(at), true) => (at + 1) % count,
            (Some(at), false) => (at + count - 1) % count,
        };
        field.input = Input::new(around.images[next].to_string());
    }

    /// Judges every field.
    pub(crate) fn judge(&mut self, around: &Surroundings<'_>) {
        let before = match &self.purpose {
            Purpose::Set(_, spec) => Some(spec.clone()),
            Purpose::Create | Purpose::Rename(_) => None,
            Purpose::Command(_) | Purpose::Typed(_) => None,
        };
        for field in &mut self.fields {
            field.judge(before.as_deref(), around);
        }
    }

    fn complete(&mut self, around: &Surroundings<'_>) -> FormOutcome {
        self.judge(around);
        if let Some(wrong) = self.fields.iter().position(|it| it.error.is_some()) {
            self.at = wrong;
            return FormOutcome::Open;
        }
        let job = match &self.purpose {
            Purpose::Command(words) => self.command(words),
            Purpose::Typed(selected) => {
                return FormOutcome::Run(self.typed_words(selected.as_ref()));
            }
            Purpose::Create | Purpose::Set(..) | Purpose::Rename(_) => self.vm_job(),
        };
        FormOutcome::Complete(Box::new(job))
    }

    fn field(&self, kind: Kind) -> Option<&Field> {
        self.fields.iter().find(|it| it.kind == kind)
    }

    fn text(&self, kind: Kind) -> Option<String> {
        self.field(kind)?.text().map(str::to_owned)
    }

    fn is_on(&self, kind: Kind) -> bool {
        self.field(kind).is_some_and(Field::is_on)
    }
}
