//! Drafts: a form whose verb fails opens again with what was typed.

use super::form::Form;
use super::message::Job;

/// The forms whose verbs are under way, and the last one whose verb failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Drafts {
    sent: Vec<(Job, Form)>,
    failed: Option<Form>,
}

impl Drafts {
    /// Keeps a form until its job ends.
    pub(super) fn send(&mut self, job: Job, form: Form) {
        self.failed = None;
        self.sent.push((job, form));
    }

    /// Forgets the form of a job that has ended well, and keeps that of one that has failed.
    pub(super) fn end(&mut self, job: &Job, is_failed: bool) {
        if let Some(at) = self.sent.iter().position(|(sent, _)| sent == job) {
            let (_, form) = self.sent.remove(at);
            if is_failed {
                self.failed = Some(form);
            }
        }
    }

    /// Fills in what was typed if this is the form whose verb failed, and returns whether it is.
    pub(super) fn resume(&mut self, form: &mut Form) -> bool {
        let is_same = |draft: &mut Form| draft.purpose == form.purpose && draft.title == form.title;
        let Some(draft) = self.failed.take_if(is_same) else {
            return false;
        };
        for (field, typed) in form.fields.iter_mut().zip(draft.fields) {
            field.input = typed.input;
        }
        true
    }
}
