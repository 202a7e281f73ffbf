//! Jobs and questions, on threads of their own: the screen never waits for them.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};

use banger_api::client::Client;
use banger_api::configuration::Setting;
use banger_api::{
    DeleteVm, ImageName, KillVm, PruneImages, RenameVm, Result, StartVm, StopVm, VmId, VmRef,
};

use super::command;
use super::inbox::Sender;
use crate::commands::config;
use crate::connect;
use crate::paths::Paths;
use crate::remote::Prompts;
use crate::session::Session;
use crate::tui::SILENT;
use crate::tui::model::message::{AT_ONCE, Act, Answer, Defaults, Job, Message, Question};

/// Does jobs and asks questions.
#[derive(Debug)]
pub(super) struct Work {
    sender: Sender,
    places: Paths,
    queue: Arc<Mutex<Queue>>,
    questions: mpsc::Sender<Question>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
}

impl Work {
    /// Waits for work.
    pub(super) fn new(sender: &Sender, places: &Paths) -> Self {
        let (questions, asked) = mpsc::channel();
        let own = places.clone();
        sender.spawn("questions", move |sender| answer_all(sender, &own, &asked));
        Self {
            sender: sender.clone(),
            places: places.clone(),
            queue: Arc::default(),
            questions,
        }
    }

    /// Has a job done.
    pub(super) fn take(&self, job: Job) {
        let mut queue = lock(&self.queue);
        queue.jobs.push_back(job);
        if queue.threads >= AT_ONCE {
            return;
        }
        queue.threads += 1;
        drop(queue);
        let (queue, places) = (Arc::clone(&self.queue), self.places.clone());
        self.sender.spawn("job", move |sender| {
            while let Some(job) = next(&queue) {
                let outcome = done(&job, &places);
                if !sender.send(Message::Ended(Box::new(job), outcome)) {
                    return;
                }
            }
        });
    }

    /// Asks.
    pub(super) fn ask(&self, question: Question) {
        match question {
            // They may take long, as a guest that hangs does, and must not keep the others waiting.
            Question::Ports(_) | Question::Doctor | Question::Defaults => {
                let places = self.places.clone();
                self.sender.spawn("question", move |sender| {
                    if let Some(answer) = answer(question, &places) {
                        sender.send(Message::Answer(answer));
                    }
                });
            }
            Question::Vm(_)
            | Question::Images
            | Question::Volumes
            | Question::Trash
            | Question::Daemon => {
                let _ = self.questions.send(question);
            }
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> std::sync::MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next job; the thread ends where there is none.
fn next(queue: &Mutex<Queue>) -> Option<Job> {
    let mut queue = lock(queue);
    let job = queue.jobs.pop_front();
    if job.is_none() {
        queue.threads -= 1;
    }
    job
}

fn reference(vm: Option<VmId>) -> Result<VmRef> {
    let text = vm.map(|it| it.to_string()).unwrap_or_default();
    text.parse().map_err(|wrong: banger_api::InvalidName| {
        banger_api::Error::new(banger_api::Code::Internal, wrong.to_string())
    })
}

fn done(job: &Job, places: &Paths) -> Result<()> {
    if let Some(remote) = &places.remote
        && job.act == Act::StartDaemon
    {
        return remote.connect(Prompts::Refused).map(drop);
    }
    if job.act == Act::StartDaemon {
        return connect::or_start(places, SILENT).map(drop);
    }
    if let Act::Command(words) = &job.act {
        return command::run(words, places);
    }
    let client = Client::new(&places.location.socket)?;
    let vm = || reference(job.vm);
    // The events tell the steps.
    match &job.act {
        Act::Create(request) => client.create(request, |_| {}).map(drop),
        Act::Start { rescue } => client
            .start(&vm()?, &StartVm { rescue: *rescue }, |_| {})
            .map(drop),
        Act::Stop => client.stop(&vm()?, &StopVm::default(), |_| {}).map(drop),
        Act::Restart => client.restart(&vm()?, &StopVm::default(), |_| {}).map(drop),
        Act::Kill => client.kill(&vm()?, &KillVm::default(), |_| {}).map(drop),
        Act::Delete { force } => client
            .delete(
                &vm()?,
                &DeleteVm {
                    force: *force,
                    ..DeleteVm::default()
                },
                |_| {},
            )
            .map(drop),
        Act::Set(patch) => client.set(&vm()?, patch, |_| {}).map(drop),
        Act::Rename(name) => client
            .rename(&vm()?, &RenameVm { name: name.clone() }, |_| {})
            .map(drop),
        Act::DeleteImage(name) => client.delete_image(name, |_| {}).map(drop),
        Act::PruneImages => client
            .prune_images(&PruneImages::default(), |_| {})
            .map(drop),
        Act::StartDaemon | Act::Command(_) => Ok(()),
    }
}

/// Answers one after the other. Of VMs, only the one that was asked for last is still on the screen.
fn answer_all(sender: &Sender, places: &Paths, asked: &Receiver<Question>) {
    while let Ok(first) = asked.recv() {
        let mut questions = vec![first];
        questions.extend(asked.try_iter());
        let last_vm = questions
            .iter()
            .rposition(|it| matches!(it, Question::Vm(_)));
        for (at, question) in questions.iter().enumerate() {
            let is_old = matches!(question, Question::Vm(_)) && Some(at) != last_vm;
            let is_again = questions[..at].contains(question);
            if is_old || (is_again && !matches!(question, Question::Vm(_))) {
                continue;
            }
            let Some(answer) = answer(*question, places) else {
                continue;
            };
            if !sender.send(Message::Answer(answer)) {
                return;
            }
        }
    }
}

fn answer(question: Question, places: &Paths) -> Option<Answer> {
    let client = || Client::new(&places.location.socket);
    Some(match question {
        Question::Vm(id) => {
            let vm = reference(Some(id)).and_then(|vm| client()?.show(&vm));
            Answer::Vm(id, vm.map(Box::new))
        }
        Question::Ports(id) => {
            let ports = reference(Some(id)).and_then(|vm| client()?.ports(&vm));
            Answer::Ports(id, ports)
        }
        Question::Images => Answer::Images(client().and_then(|it| it.images())),
        Question::Volumes => Answer::Volumes(client().and_then(|it| it.volumes())),
        Question::Trash => Answer::Trash(client().and_then(|it| it.trash())),
        Question::Daemon => Answer::Daemon(client().and_then(|it| it.daemon()).map(Box::new)),
        Question::Doctor => Answer::Doctor(client().and_then(|it| it.doctor())),
        // Where the configuration cannot be read, the form says nothing of defaults.
        Question::Defaults => Answer::Defaults(defaults(places).ok()?),
    })
}

/// What new VMs have by the configuration.
fn defaults(places: &Paths) -> Result<Defaults> {
    if let Some(remote) = &places.remote {
        return Err(banger_api::Error::new(
            banger_api::Code::Invalid,
            format!("the configuration is that of `{}`", remote.name()),
        ));
    }
    let settings = config::settings(&Session::new(places.clone(), SILENT))?;
    Ok(defaults_of(&settings))
}

fn defaults_of(settings: &[Setting]) -> Defaults {
    let value = |key: &str| {
        let setting = settings.iter().find(|it| it.key == key)?;
        match &setting.value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    };
    let text = |key: &str| value(key).unwrap_or_default();
    Defaults {
        image: value("default_rootfs").unwrap_or_else(|| ImageName::DEFAULT.to_owned()),
        vcpu: text("vcpu"),
        memory: text("memory"),
        disk_size: text("disk_size"),
        system_disk_size: text("system_disk_size"),
        nat: value("nat").is_some_and(|it| it == "true"),
    }
}

#[cfg(test)]
mod tests {
    use banger_api::configuration::{KEYS, Origin};

    use super::*;

    #[test]
    fn every_default_is_read_under_the_name_that_its_key_has() {
        let setting = |key: &str| Setting {
            key: key.to_owned(),
            value: match key {
                "nat" => true.into(),
                _ => format!("that of {key}").into(),
            },
            origin: Origin::Default,
        };
        let settings: Vec<_> = KEYS.into_iter().map(setting).collect();
        let wanted = Defaults {
            image: "that of default_rootfs".to_owned(),
            vcpu: "that of vcpu".to_owned(),
            memory: "that of memory".to_owned(),
            disk_size: "that of disk_size".to_owned(),
            system_disk_size: "that of system_disk_size".to_owned(),
            nat: true,
        };
        assert_eq!(defaults_of(&settings), wanted);
        assert_eq!(defaults_of(&[]).image, ImageName::DEFAULT);
    }
}
