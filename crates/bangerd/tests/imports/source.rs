//! The paths that a source file names, each written out from the name of its crate.
//!
//! This is a small parser, not a compiler. It knows comments, strings, `use` trees with their
//! renames, `self`, `super` and `crate`, and modules within a file; it skips code under
//! `#[cfg(test)]`. It does not see the output of macros, nor methods that are called on a value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A path that a file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathReference {
    /// Its line, from 1.
    pub(crate) line: usize,
    /// The module that contains it, such as `bangerd::engine::start`.
    pub(crate) by: String,
    /// The path itself, such as `bangerd::vm::Vm`.
    pub(crate) path: String,
}

/// A file's text, and the module that it is.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Its path, for messages.
    pub(crate) file: String,
    /// The module, such as `bangerd::engine`.
    pub(crate) module: String,
    /// Its text.
    pub(crate) text: String,
}

impl Source {
    /// The module of the file at `path` below the `src` of the crate `name`.
    pub(crate) fn module_of(name: &str, path: &str) -> String {
        let stem = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let mut module = name.to_owned();
        for part in stem.split('/') {
            if !["lib", "main", "mod"].contains(&part) {
                module += "::";
                module += part;
            }
        }
        module
    }

    /// Every path in the file. `modules` are all existing modules, which distinguish a path that
    /// begins with a child module from one that begins with a crate.
    pub(crate) fn names(&self, modules: &BTreeSet<String>) -> Vec<PathReference> {
        let tokens = without_tests(&tokens(&self.text));
        let mut reader = Reader {
            tokens: &tokens,
            at: 0,
            inner: vec![(self.module.clone(), 0)],
            depth: 0,
            modules,
            renamed: BTreeMap::new(),
            named: Vec::new(),
        };
        // Reads twice, because a name may be used above the `use` that imports it.
        reader.read();
        reader.named.clear();
        reader.at = 0;
        reader.read();
        reader.named
    }
}

/// Every source file of these crates, except files of tests.
pub(crate) fn sources(names: &[&str]) -> Vec<Source> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for name in names {
        let folder = name.replace('_', "-");
        let root = crates.join(&folder).join("src");
        for path in rust_files(&root) {
            let below = path.strip_prefix(&root).unwrap().to_str().unwrap();
            let is_test =
                |part: &str| part == "tests" || part.trim_end_matches(".rs").ends_with("tests");
            if below.split('/').any(is_test) {
                continue;
            }
            found.push(Source {
                file: format!("crates/{folder}/src/{below}"),
                module: Source::module_of(name, below),
                text: std::fs::read_to_string(&path).unwrap(),
            });
        }
    }
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

impl Token {
    fn is_word(&self) -> bool {
        self.text
            .starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Splits a text into words, `::`, and single other characters, without comments and string
/// literals.
fn tokens(text: &str) -> Vec<Token> {
    let characters: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < characters.len() {
        let rest = &characters[at..];
        let word = rest
            .iter()
            .take_while(|c| c.is_alphanumeric() || **c == '_')
            .count();
        let length = match rest {
            ['/', '/', ..] => rest.iter().take_while(|c| **c != '\n').count(),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] => quoted(rest, 0),
            ['\'', '\\', ..] => quoted(rest, 0),
            ['\'', _, '\'', ..] => 3,
            ['b' | 'c', '"', ..] => quoted(rest, 1),
            ['r', '"' | '#', ..] | ['b' | 'c', 'r', '"' | '#', ..] => raw(rest),
            _ => 0,
        };
        if length == 0 {
            let length = match rest {
                [':', ':', ..] => 2,
                _ => word.max(1),
            };
            let text: String = rest[..length].iter().collect();
            if !text.trim().is_empty() {
                found.push(Token { text, line });
            }
            line += usize::from(rest[0] == '\n');
            at += length;
            continue;
        }
        line += rest[..length].iter().filter(|c| **c == '\n').count();
        at += length;
    }
    found
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a string literal from `begin`; a backslash escapes the next character.
fn quoted(rest: &[char], begin: usize) -> usize {
    let quote = rest[begin];
    let mut at = begin + 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The length of a raw string, `r#"…"#`; 0 for other text, such as `r#type`.
fn raw(rest: &[char]) -> usize {
    let letters = rest.iter().take_while(|c| c.is_alphabetic()).count();
    let hashes = rest[letters..].iter().take_while(|c| **c == '#').count();
    if rest.get(letters + hashes) != Some(&'"') {
        return 0;
    }
    let mut end = vec!['"'];
    end.resize(1 + hashes, '#');
    let begin = letters + hashes + 1;
    let inside = rest[begin..].windows(end.len()).position(|it| it == end);
    inside.map_or(rest.len(), |inside| begin + inside + end.len())
}

/// Removes each `#[cfg(test)]` with the item that follows it.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_mark = tokens[at..].len() >= MARK.len()
            && MARK
                .iter()
                .zip(&tokens[at..])
                .all(|(mark, it)| it.text == *mark);
        if !is_mark {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += MARK.len();
        let (mut depth, mut was_in_braces) = (0_i32, false);
        while at < tokens.len() {
            match tokens[at].text.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            was_in_braces |= tokens[at].text == "{";
            let is_end = match tokens[at].text.as_str() {
                ";" => depth == 0,
                "}" => depth == 0 && was_in_braces,
                _ => false,
            };
            at += 1;
            if is_end {
                break;
            }
        }
    }
    kept
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    /// The current modules, the file's own first, each with the depth of its braces.
    inner: Vec<(String, usize)>,
    depth: usize,
    modules: &'a BTreeSet<String>,
    /// The meaning of a renamed word in a module.
    renamed: BTreeMap<(String, String), String>,
    named: Vec<PathReference>,
}

impl Reader<'_> {
    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text.as_str())
    }

    fn module(&self) -> String {
        self.inner.last().map(|it| it.0.clone()).unwrap_or_default()
    }

    fn read(&mut self) {
        while self.at < self.tokens.len() {
            let before = self
                .at
                .checked_sub(1)
                .map_or("", |at| self.text(at))
                .to_owned();
            let next = self.text(self.at + 1).to_owned();
            match self.text(self.at) {
                "{" => self.depth += 1,
                "}" => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.inner.len() > 1 && self.inner.last().is_some_and(|it| it.1 > self.depth)
                    {
                        self.inner.pop();
                    }
                }
                "mod" if self.text(self.at + 2) == "{" => {
                    let module = format!("{}::{next}", self.module());
                    self.inner.push((module, self.depth + 1));
                }
                "use" if next != "<" && before != "r" => {
                    self.at += 1;
                    self.use_tree(&[]);
                    continue;
                }
                _ if self.tokens[self.at].is_word()
                    && next == "::"
                    && !["::", "."].contains(&before.as_str()) =>
                {
                    self.inline();
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// A path in code, such as `std::fs::read`.
    fn inline(&mut self) {
        let line = self.tokens[self.at].line;
        let mut words = vec![self.text(self.at).to_owned()];
        self.at += 1;
        while self.text(self.at) == "::" && self.tokens.get(self.at + 1).is_some_and(Token::is_word)
        {
            words.push(self.text(self.at + 1).to_owned());
            self.at += 2;
        }
        self.name(&words, line);
    }

    /// One tree of a `use`, up to the comma, brace or semicolon after it.
    fn use_tree(&mut self, above: &[String]) {
        let mut words = above.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        loop {
            match self.text(self.at) {
                "::" => {}
                "{" => {
                    self.at += 1;
                    while !["}", ""].contains(&self.text(self.at)) {
                        self.use_tree(&words);
                        self.at += usize::from(self.text(self.at) == ",");
                    }
                    self.at += 1;
                    return;
                }
                "self" if !words.is_empty() && words.len() == above.len() => {}
                "," | "}" | ";" | "as" | "" => break,
                word => words.push(word.to_owned()),
            }
            self.at += 1;
        }
        let mut alias = words.last().cloned().unwrap_or_default();
        if self.text(self.at) == "as" {
            self.text(self.at + 1).clone_into(&mut alias);
            self.at += 2;
        }
        let path = self.name(&words, line);
        self.renamed.insert((self.module(), alias), path);
    }

    fn name(&mut self, words: &[String], line: usize) -> String {
        let path = self.written_out(words);
        let by = self.module();
        self.named.push(PathReference {
            line,
            by,
            path: path.clone(),
        });
        path
    }

    /// The path, written out from the name of its crate.
    fn written_out(&self, words: &[String]) -> String {
        let Some((first, rest)) = words.split_first() else {
            return String::new();
        };
        let here = self.module();
        let root = here.split("::").next().unwrap_or_default().to_owned();
        let child = format!("{here}::{first}");
        let mut base = match first.as_str() {
            "crate" => root,
            "self" => here,
            "super" => parent(&here),
            _ => match self.renamed.get(&(here, first.clone())) {
                // `use time::time` would cause an endless loop.
                Some(path) if !path.starts_with(&format!("{first}::")) || rest.is_empty() => {
                    path.clone()
                }
                Some(_) | None if self.modules.contains(&child) => child,
                Some(_) | None => first.clone(),
            },
        };
        for word in rest {
            base = match word.as_str() {
                "super" => parent(&base),
                word => format!("{base}::{word}"),
            };
        }
        base
    }
}

fn parent(module: &str) -> String {
    module
        .rsplit_once("::")
        .map_or(module, |(above, _)| above)
        .to_owned()
}
