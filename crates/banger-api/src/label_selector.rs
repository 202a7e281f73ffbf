//! Selects VMs by label, such as `-l team=web`.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::limits;

/// One condition on a VM's labels, in the notation of kubectl(1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelSelector {
    /// `key=value`: the label has this value.
    Is(String, String),
    /// `key!=value`: the label has another value, or does not exist.
    IsNot(String, String),
    /// `key`: the label exists, with any value.
    Has(String),
    /// `!key`: the label does not exist.
    Lacks(String),
}

impl LabelSelector {
    /// Whether a VM with these labels is selected.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Is(key, value) => labels.get(key) == Some(value),
            Self::IsNot(key, value) => labels.get(key) != Some(value),
            Self::Has(key) => labels.contains_key(key),
            Self::Lacks(key) => !labels.contains_key(key),
        }
    }
}

impl FromStr for LabelSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .map_or((text, None), |(key, value)| (key, Some(value.to_owned())));
        let selector = match (value, key.strip_suffix('!'), key.strip_prefix('!')) {
            (Some(value), Some(key), _) => Self::IsNot(key.to_owned(), value),
            (Some(value), None, _) => Self::Is(key.to_owned(), value),
            (None, _, Some(key)) => Self::Lacks(key.to_owned()),
            (None, _, None) => Self::Has(key.to_owned()),
        };
        let (key, value) = match &selector {
            Self::Is(key, value) | Self::IsNot(key, value) => (key, value.as_str()),
            Self::Has(key) | Self::Lacks(key) => (key, ""),
        };
        limits::label(key, value)
            .map_err(|why| format!("{why}; write it as KEY=VALUE, KEY!=VALUE, KEY or !KEY"))?;
        Ok(selector)
    }
}

impl std::fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Is(key, value) => write!(f, "{key}={value}"),
            Self::IsNot(key, value) => write!(f, "{key}!={value}"),
            Self::Has(key) => write!(f, "{key}"),
            Self::Lacks(key) => write!(f, "!{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_selects_its_vms() {
        let labels = [("team", "web"), ("note", "a=b")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let labels = BTreeMap::from(labels);
        for (text, selects) in [
            ("team=web", true),
            ("team=api", false),
            ("team=", false),
            ("team!=web", false),
            ("team!=api", true),
            ("ci!=7", true),
            ("team", true),
            ("ci", false),
            ("!ci", true),
            ("!team", false),
            ("note=a=b", true),
        ] {
            let selector: LabelSelector = text.parse().unwrap();
            assert_eq!(selector.selects(&labels), selects, "{text}");
            assert_eq!(selector.to_string(), text);
        }
    }

    #[test]
    fn what_no_label_can_be_is_refused() {
        for text in ["", "=web", "Team=web", "!", "a b", "team=\n", "!a=b"] {
            let why = text.parse::<LabelSelector>().unwrap_err();
            assert!(why.contains("KEY!=VALUE"), "{text:?}: {why}");
        }
    }
}
