//! The forms of commands: each field is a word of the command line, so that a verb does here what it does
//! there, also with the VMs of another machine.

use banger_api::{ImageName, VmName, VmView};

use super::field::{Field, Kind, Word};
use super::{Form, Purpose};
use crate::tui::model::message::{Act, Job};

/// What stands for the selected VM's name.
const SELECTED: &str = "{}";

fn form(title: String, name: &str, words: &[&str], fields: Vec<Field>) -> Form {
    Form {
        purpose: Purpose::Command(words.iter().map(|it| (*it).to_owned()).collect()),
        title,
        name: name.to_owned(),
        fields,
        at: 0,
    }
}

fn argument(kind: Kind, label: &'static str) -> Field {
    let field = Field::new(kind, label, "");
    field.on_the_line(Word::Argument).needed()
}

fn option(kind: Kind, label: &'static str, default: &str, option: &'static str) -> Field {
    Field::new(kind, label, default).on_the_line(Word::Option(option))
}

fn flag(label: &'static str, option: &'static str) -> Field {
    Field::new(Kind::Switch, label, "off").on_the_line(Word::Flag(option))
}

impl Form {
    /// A command line, in which `{}` stands for the VM that is selected now: the cursor may be on another
    /// one before the line is sent.
    pub(crate) fn prompt(selected: Option<&VmName>) -> Self {
        let (title, default) = match selected {
            Some(name) => (
                format!("a command; {SELECTED} is {name}"),
                "vm cp {}:/etc/hosts hosts",
            ),
            None => ("a command".to_owned(), "vm list"),
        };
        let field = Field::new(Kind::Command, "banger", default);
        Self {
            purpose: Purpose::Typed(selected.cloned()),
            title,
            name: String::new(),
            fields: vec![field.needed()],
            at: 0,
        }
    }

    /// A copy of a VM that is stopped.
    pub(crate) fn clone_of(vm: &VmView) -> Self {
        let name = vm.name.as_str();
        let id = vm.id.to_string();
        let fields = vec![
            argument(Kind::Name, "new name"),
            option(Kind::Vcpu, "vCPUs", &vm.next().vcpu.to_string(), "--vcpu"),
            option(
                Kind::Memory,
                "memory",
                &vm.next().memory.to_string(),
                "--memory",
            ),
        ];
        form(format!("clone {name}"), name, &["vm", "clone", &id], fields)
    }

    /// An archive of a VM that is stopped.
    pub(crate) fn export(vm: &VmView) -> Self {
        let name = vm.name.as_str();
        let id = vm.id.to_string();
        let file = argument(Kind::File, "file").holding(&format!("~/{name}.banger"));
        let fields = vec![file, flag("replace it", "--force")];
        form(
            format!("export {name}"),
            name,
            &["vm", "export", &id],
            fields,
        )
    }

    /// A VM of an archive.
    pub(crate) fn import() -> Self {
        let fields = vec![
            argument(Kind::File, "file"),
            option(Kind::Name, "name", "that of the VM in it", "--name"),
        ];
        let title = "import a VM from an archive".to_owned();
        form(title, "the VM", &["vm", "import"], fields)
    }

    /// A VM back from the trash.
    pub(crate) fn undelete(vm: &VmView) -> Self {
        let name = vm.name.as_str();
        let field = option(Kind::Name, "name", name, "--name");
        let id = vm.id.to_string();
        let title = format!("restore {name} from the trash");
        form(title, name, &["vm", "undelete", &id], vec![field])
    }

    /// A new image of another one, by a recipe.
    pub(crate) fn build(base: Option<&ImageName>) -> Self {
        let from = option(Kind::Image, "made of", "the default image", "--from");
        let fields = vec![
            option(Kind::NewImage, "name", "", "--name").needed(),
            match base {
                Some(base) => from.holding(base.as_str()),
                None => from,
            },
            option(Kind::File, "recipe", "the default recipe", "--recipe"),
            option(Kind::File, "packages", "those of the recipe", "--packages"),
            option(Kind::Size, "size", "4G, or the base's", "--size"),
            flag("Docker", "--docker"),
            flag("keep failed", "--keep-on-failure"),
        ];
        let title = "build an image".to_owned();
        form(title, "the image", &["image", "build"], fields)
    }

    /// An image of a root file system.
    pub(crate) fn import_image() -> Self {
        let fields = vec![
            argument(Kind::Source, "source"),
            option(Kind::NewImage, "name", "", "--name").needed(),
        ];
        let title = "import an image".to_owned();
        form(title, "the image", &["image", "import"], fields)
    }

    /// A file with an image's root file system.
    pub(crate) fn export_image(image: &ImageName) -> Self {
        let name = image.as_str();
        let file = argument(Kind::File, "file").holding(&format!("~/{name}.ext4"));
        let fields = vec![file, flag("replace it", "--force")];
        let title = format!("export the image {name}");
        form(title, name, &["image", "export", name], fields)
    }

    /// Another name of an image.
    pub(crate) fn rename_image(image: &ImageName) -> Self {
        let name = image.as_str();
        let fields = vec![argument(Kind::NewImage, "new name")];
        let title = format!("rename the image {name}");
        form(title, name, &["image", "rename", name], fields)
    }

    /// A new volume.
    pub(crate) fn create_volume() -> Self {
        let fields = vec![
            argument(Kind::NewVolume, "name"),
            option(Kind::Size, "size", "16G", "--size"),
        ];
        let title = "create a volume".to_owned();
        form(title, "the volume", &["volume", "create"], fields)
    }

    /// The words of a command line as it is run: without banger's own name, and with the VM's.
    pub(super) fn typed_words(&self, selected: Option<&VmName>) -> Vec<String> {
        let typed = self.text(Kind::Command).unwrap_or_default();
        let mut words = crate::quote::split(&typed).unwrap_or_default();
        if words.first().is_some_and(|it| it == "banger") {
            words.remove(0);
        }
        if let Some(name) = selected {
            for word in &mut words {
                *word = word.replace(SELECTED, name.as_str());
            }
        }
        words
    }

    /// The command with what is typed.
    pub(super) fn command(&self, words: &[String]) -> Job {
        let mut words = words.to_vec();
        for field in &self.fields {
            let text = field.text().map(str::to_owned);
            match (field.word, text) {
                (Word::Argument, Some(text)) => words.push(text),
                (Word::Option(option), Some(text)) => words.push(format!("{option}={text}")),
                (Word::Flag(option), _) if field.is_on() => words.push(option.to_owned()),
                _ => {}
            }
        }
        let typed = self.fields.iter().find(|it| {
            matches!(it.kind, Kind::NewImage | Kind::NewVolume) && it.word != Word::None
        });
        let typed = typed.and_then(Field::text).map(str::to_owned);
        Job {
            vm: None,
            name: typed.unwrap_or_else(|| self.name.clone()),
            act: Act::Command(words),
        }
    }
}
