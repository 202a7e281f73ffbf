//! Writes a tree as one archive: first directories, then entries without content, then files in the
//! order of their layers, then hard links. No path has links or `..`, and each directory precedes
//! its entries, so that unpacking the archive in a new folder writes nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use banger_api::{Code, Error};
use tar::{Archive, Builder, EntryType, Header};

use super::tree::{Kind, Node, Place, PositionedFile, Tree};
use super::work::Work;
use crate::error::Result;

type Out = Builder<BufWriter<File>>;

/// Writes the tree, and the modules of the kernel that will boot it.
///
/// # Errors
/// If a layer cannot be read, or the archive cannot be written.
pub(super) fn write(
    tree: &Tree,
    to: &Path,
    modules: Option<(&Path, &str)>,
    work: &Work<'_>,
) -> Result<()> {
    let failed = |cause: io::Error| {
        let what = format!("`{}` cannot be written", to.display());
        Error::new(Code::Host, what).cause(cause.to_string())
    };
    let file = File::create_new(to).map_err(failed)?;
    let mut out = Builder::new(BufWriter::new(file));
    let further = without_content(tree, &mut out).map_err(failed)?;
    let mut names: BTreeMap<Place, &Path> = BTreeMap::new();
    let mut later = Vec::new();
    for (path, node) in &tree.nodes {
        if let Kind::File { place, .. } = node.kind {
            match names.get(&place) {
                Some(first) => later.push((path, *first)),
                None => {
                    names.insert(place, path);
                }
            }
        }
    }
    let (mut meter, mut have) = (work.meter(tree.size), 0);
    for (layer, archive) in tree.layers.iter().enumerate() {
        let file = archive.try_clone().map_err(failed)?;
        let mut archive = Archive::new(PositionedFile { file, at: 0 });
        for (number, entry) in archive.entries().map_err(failed)?.enumerate() {
            work.check()?;
            let entry = entry.map_err(failed)?;
            if let Some(path) = names.get(&(layer, number)) {
                let node = &tree.nodes[*path];
                let mut header = header(node, EntryType::Regular);
                header.set_size(entry.size());
                attributes(&mut out, node).map_err(failed)?;
                have += entry.size();
                out.append_data(&mut header, path, entry).map_err(failed)?;
                meter.tell(have);
            }
        }
    }
    for (path, first) in later {
        let mut header = header(&tree.nodes[path], EntryType::Link);
        out.append_link(&mut header, path, first).map_err(failed)?;
    }
    if let Some((folder, version)) = modules {
        add_modules(tree, &mut out, folder, version, &further).map_err(failed)?;
    }
    let written = out
        .into_inner()
        .and_then(|it| it.into_inner().map_err(io::Error::from));
    written.map(drop).map_err(failed)
}

/// Directories, links and pipes; returns the directories.
fn without_content(tree: &Tree, out: &mut Out) -> io::Result<BTreeSet<PathBuf>> {
    let mut directories = BTreeSet::new();
    for (path, node) in &tree.nodes {
        if node.kind == Kind::Directory {
            directories.insert(path.clone());
            let path = if path.as_os_str().is_empty() {
                Path::new("./")
            } else {
                path
            };
            attributes(out, node)?;
            out.append_data(&mut header(node, EntryType::Directory), path, io::empty())?;
        }
    }
    for (path, node) in &tree.nodes {
        match &node.kind {
            Kind::Link(target) => {
                out.append_link(&mut header(node, EntryType::Symlink), path, target)?;
            }
            Kind::Pipe => out.append_data(&mut header(node, EntryType::Fifo), path, io::empty())?,
            Kind::Directory | Kind::File { .. } => {}
        }
    }
    Ok(directories)
}

fn header(node: &Node, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(node.mode);
    header.set_uid(node.uid);
    header.set_gid(node.gid);
    header.set_mtime(node.mtime);
    header.set_size(0);
    header
}

fn attributes<W: Write>(out: &mut Builder<W>, node: &Node) -> io::Result<()> {
    if node.attributes.is_empty() {
        return Ok(());
    }
    let attributes = node.attributes.iter();
    out.append_pax_extensions(attributes.map(|(key, value)| (&**key, &**value)))
}

/// Writes the modules of a kernel, owned by root, unless the tree has some of this version.
fn add_modules(
    tree: &Tree,
    out: &mut Out,
    from: &Path,
    version: &str,
    directories: &BTreeSet<PathBuf>,
) -> io::Result<()> {
    // No part of it is a link, so that nothing is written through one.
    let to = Path::new("lib/modules").join(version);
    let to = tree.resolve(&to).map_err(io::Error::other)?;
    if directories.contains(&to) {
        return Ok(());
    }
    for folder in to.ancestors().collect::<Vec<_>>().into_iter().rev() {
        let is_there = folder.as_os_str().is_empty() || directories.contains(folder);
        if !is_there {
            append(out, folder, None)?;
        }
    }
    let mut left = vec![PathBuf::new()];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(from.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                append(out, &to.join(&path), None)?;
                left.push(path);
            } else if kind.is_file() {
                append(out, &to.join(&path), Some(File::open(entry.path())?))?;
            }
        }
    }
    Ok(())
}

/// A file owned by root, or a directory if there is no content.
fn append(out: &mut Out, path: &Path, file: Option<File>) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(if file.is_some() { 0o644 } else { 0o755 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let Some(file) = file else {
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        return out.append_data(&mut header, path, io::empty());
    };
    header.set_size(file.metadata()?.len());
    out.append_data(&mut header, path, file)
}
