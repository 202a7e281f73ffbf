//! What is done with images.

use banger_api::{Operation, OperationState, Verb};

use super::Model;
use super::dialog::{Confirmation, Overlay};
use super::form::Form;
use super::keys::Action;
use super::message::{Act, Effect, Job, Question};
use super::notices::Tone;
use super::operations::Course;

impl Model {
    /// The images that are being built, and how far they are.
    pub(crate) fn builds(&self) -> impl Iterator<Item = &Course> {
        self.operations
            .running()
            .filter(|it| it.operation.verb == Verb::Build)
    }

    /// A build that has ended may have made an image.
    pub(super) fn build_ended(operation: &Operation) -> Option<Effect> {
        let ended = matches!(
            operation.state,
            OperationState::Done | OperationState::Failed { .. }
        );
        (ended && operation.verb == Verb::Build).then_some(Effect::Ask(Question::Images))
    }

    /// Opens the form of a verb of images.
    pub(super) fn image_form(&mut self, action: Action) -> Vec<Effect> {
        let selected = self.images.selected().map(|it| it.name.clone());
        let form = match (action, selected) {
            (Action::BuildImage, base) => Form::build(base.as_ref()),
            (Action::ImportImage, _) => Form::import_image(),
            (Action::ExportImage, Some(image)) => Form::export_image(&image),
            (Action::RenameImage, Some(image)) if image.is_default() => {
                self.say(Tone::Warning, "the bundle's own image keeps its name");
                return Vec::new();
            }
            (Action::RenameImage, Some(image)) => Form::rename_image(&image),
            _ => return Vec::new(),
        };
        self.open_form(form)
    }

    /// Asks before an image goes, or those that nobody uses.
    pub(super) fn ask_before_image_goes(&mut self, action: Action) -> Vec<Effect> {
        if action == Action::PruneImages {
            let what = "images without a name that nobody uses".to_owned();
            return self.ask_before(Vec::new(), &what.clone(), what, Act::PruneImages);
        }
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
        self.ask_before(lines, &format!("the image {name}"), name, act)
    }

    /// Asks before something is deleted: what goes, and in which words.
    pub(super) fn ask_before(
        &mut self,
        lines: Vec<String>,
        what: &str,
        name: String,
        act: Act,
    ) -> Vec<Effect> {
        let yes = format!("delete {name}");
        let job = Job {
            vm: None,
            name,
            act,
        };
        let question = Confirmation {
            title: format!("delete {what}?"),
            lines,
            deletes_vms: false,
            yes,
            effects: vec![Effect::Work(job)],
        };
        self.open(Overlay::Question(Box::new(question)))
    }
}
