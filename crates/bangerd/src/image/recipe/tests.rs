//! Recipes as users write them, and as nobody should.

use std::path::Path;

use banger_api::Code;

use super::*;
use crate::image::bundle::uninterrupted;

fn read(folder: &Path, text: &str) -> banger_api::Result<Recipe> {
    let path = folder.join("recipe.toml");
    std::fs::write(&path, text).unwrap();
    Recipe::read(&path)
}

fn steps(recipes: Vec<Recipe>, mirrors: &Mirrors, folder: &Path) -> Vec<banger_api::BuildStep> {
    let ingredients = Ingredients {
        recipes,
        additions: Additions::default(),
        mirrors: mirrors.clone(),
    };
    let mut nothing = |_| {};
    let home = folder.to_owned();
    let environment = move |name: &str| (name == "HOME").then(|| home.clone());
    let cache = folder.join("cache");
    let mut fetcher = Fetcher::new(&cache, mirrors, environment, &mut nothing).unwrap();
    ingredients.steps(&mut fetcher).unwrap()
}

#[test]
fn the_shipped_recipes_are_right_and_their_list_has_its_digest() {
    let recipe = Recipe::shipped().unwrap();
    assert!(recipe.packages.names.contains("jq"));
    assert_eq!(recipe.downloads.len(), 2);
    let docker = Recipe::docker().unwrap();
    assert!(docker.packages.names.contains("docker-buildx"));
    for (name, text) in SHIPPED {
        assert!(
            !text.contains("registry."),
            "{name} names a registry's host"
        );
    }
}

#[test]
fn what_is_wrong_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let sha256 = "a".repeat(64);
    for (text, why) in [
        ("packges = []", "unknown field"),
        ("packages = [\"-y\"]", "not the name of a package"),
        ("[environment]\n\"A B\" = \"c\"", "the name of a variable"),
        (
            "[[file]]\npath = \"etc/x\"\ncontent = \"\"",
            "not an absolute path",
        ),
        (
            "[[file]]\npath = \"/etc/../x\"\ncontent = \"\"",
            "not an absolute path",
        ),
        ("[[file]]\npath = \"/x\"", "either `content` or `source`"),
        (
            "[[file]]\npath = \"/x\"\ncontent = \"\"\nmode = \"rwx\"",
            "not octal",
        ),
        (
            "[[download]]\nurl = \"https://x/y\"\nsha256 = \"1\"\nto = \"/y\"",
            "SHA-256",
        ),
        (
            &format!("[[download]]\nsha256 = \"{sha256}\"\nto = \"/y\""),
            "either `url` or `npm`",
        ),
        (
            &format!("[[download]]\nnpm = \"x\"\nsha256 = \"{sha256}\"\nto = \"/y\""),
            "@1.2.3",
        ),
        (
            &format!("[[download]]\nnpm = \"../x@1\"\nsha256 = \"{sha256}\"\nto = \"/y\""),
            "not an npm package",
        ),
        (
            "[[git]]\nurl = \"https://x/y\"\ncommit = \"main\"\nto = \"/y\"",
            "40 hexadecimal digits",
        ),
        (
            &format!(
                "[[git]]\nurl = \"--upload-pack=x\"\ncommit = \"{}\"\nto = \"/y\"",
                "a".repeat(40)
            ),
            "its address begins",
        ),
        (
            "[[command]]\nrun = \"x\"\ntimeout_seconds = 0",
            "1 to 86400",
        ),
    ] {
        let error = read(folder.path(), text).unwrap_err();
        assert_eq!(error.code, Code::Invalid, "{text}");
        assert!(error.report().contains(why), "{text}: {}", error.report());
    }
    let absent = Recipe::read(&folder.path().join("absent.toml")).unwrap_err();
    assert_eq!(absent.code, Code::NotFound);
}

#[test]
fn a_list_that_has_changed_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("packages.apt");
    std::fs::write(&list, "jq\nmake\n").unwrap();
    let digest = PackageList::open(&list).unwrap().digest();
    let text = format!("packages_file = \"packages.apt\"\npackages_sha256 = \"{digest}\"");
    read(folder.path(), &text).unwrap();
    std::fs::write(&list, "make # first\njq\n").unwrap();
    read(folder.path(), &text).unwrap();
    std::fs::write(&list, "jq\nmake\ntree\n").unwrap();
    let error = read(folder.path(), &text).unwrap_err();
    assert!(
        error.report().contains("not the list"),
        "{}",
        error.report()
    );
}

/// Runs the steps here, with every path below `root`.
fn run(steps: &[banger_api::BuildStep], root: &Path) {
    for step in steps {
        let text = step
            .script
            .replace("/opt/", &format!("{}/opt/", root.display()));
        let text = text.replace("/var/tmp/", &format!("{}/", root.display()));
        let length = text.len();
        let mut command = banger_host::command::Command::new("sh")
            .args([
                "-c",
                &format!("script=$(head -c {length}) && exec sh -c \"$script\""),
            ])
            .stdin(text);
        if let Some(input) = &step.input {
            command = command.input_file(input);
        }
        let mut lines = Vec::new();
        let status = command.stream(|line| lines.push(line.to_owned())).unwrap();
        assert!(status.success(), "{}: {lines:?}", step.name);
    }
}

fn sha256(path: &Path) -> String {
    crate::image::bundle::sha256(path).unwrap()
}

#[test]
fn what_a_recipe_names_is_fetched_here_and_comes_to_its_place() {
    let _uninterrupted = uninterrupted();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let shell = |script: &str| {
        let command = banger_host::command::Command::new("sh").args(["-euc", script]);
        command.directory(folder.path()).run().unwrap().text()
    };
    // An npm registry and a git host, both in folders.
    shell(
        "mkdir -p package/bin npm/@mine/tool/- git/ada
         printf 'tool 1' >package/bin/tool; printf doc >package/README
         tar -czf npm/@mine/tool/-/tool-1.0.0.tgz package
         git init -q git/ada/plugin; cd git/ada/plugin; echo plugin >plugin.sh; git add .
         git -c user.name=a -c user.email=a@b commit -qm one",
    );
    let commit = shell("git -C git/ada/plugin rev-parse HEAD")
        .trim()
        .to_owned();
    let archive = sha256(&at("npm/@mine/tool/-/tool-1.0.0.tgz"));
    let mirrors = Mirrors {
        npm: Some(format!("file://{}", at("npm").display())),
        git: Some(format!("file://{}", at("git").display())),
        ..Mirrors::default()
    };
    let text = format!(
        r#"
        [environment]
        WHO = "it's $me"
        [[download]]
        npm = "@mine/tool@1.0.0"
        sha256 = "{archive}"
        member = "package/bin/tool"
        to = "/opt/bin/tool"
        mode = "0755"
        [[download]]
        npm = "@mine/tool@1.0.0"
        sha256 = "{archive}"
        unpack = true
        strip = 1
        to = "/opt/tool"
        [[git]]
        url = "https://git.example/ada/plugin"
        commit = "{commit}"
        to = "/opt/plugin"
        [[file]]
        path = "/opt/etc/it's"
        content = "$HOME `id`\n"
        mode = "0600"
        [[file]]
        path = "/opt/etc/copy"
        source = "package/README"
        [[command]]
        run = "printf %s \"$WHO\" >/opt/who"
        [[check]]
        run = "test -e /opt/who"
        "#
    );
    let recipe = read(folder.path(), &text).unwrap();
    let steps = steps(vec![recipe], &mirrors, folder.path());
    let names: Vec<&str> = steps.iter().map(|it| &*it.name).collect();
    assert_eq!(names[0], "put @mine/tool@1.0.0");
    assert_eq!(names[2], format!("put plugin at {}", &commit[..12]));
    assert_eq!(names[6], "check test -e /opt/who");
    let root = at("root");
    std::fs::create_dir(&root).unwrap();
    run(&steps, &root);
    let content = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    assert_eq!(content("opt/bin/tool"), "tool 1");
    assert_eq!(content("opt/tool/README"), "doc");
    assert_eq!(content("opt/plugin/plugin.sh"), "plugin\n");
    assert!(!root.join("opt/plugin/.git").exists());
    assert_eq!(content("opt/etc/it's"), "$HOME `id`\n");
    assert_eq!(content("opt/etc/copy"), "doc");
    assert_eq!(content("opt/who"), "it's $me");
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        root.join(path).metadata().unwrap().permissions().mode() & 0o7777
    };
    assert_eq!((mode("opt/bin/tool"), mode("opt/etc/it's")), (0o755, 0o600));
    let left = std::fs::read_dir(at("cache")).unwrap();
    let left: Vec<_> = left.map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the archive and the commit: {left:?}");
}

#[test]
fn a_commit_that_is_not_there_is_an_error_and_leaves_nothing() {
    let _uninterrupted = uninterrupted();
    let folder = tempfile::tempdir().unwrap();
    let script = "git init -q git/ada/plugin 2>/dev/null || { mkdir -p git/ada && git init -q git/ada/plugin; }";
    let command = banger_host::command::Command::new("sh").args(["-euc", script]);
    command.directory(folder.path()).run().unwrap();
    let mirrors = Mirrors {
        git: Some(format!("file://{}/git", folder.path().display())),
        ..Mirrors::default()
    };
    let url = format!("file://{}/none/ada/plugin", folder.path().display());
    let commit = "0123456789".repeat(4);
    let text = format!("[[git]]\nurl = \"{url}\"\ncommit = \"{commit}\"\nto = \"/opt/x\"");
    let ingredients = Ingredients {
        recipes: vec![read(folder.path(), &text).unwrap()],
        additions: Additions::default(),
        mirrors: mirrors.clone(),
    };
    let mut nothing = |_| {};
    let cache = folder.path().join("cache");
    let mut fetcher = Fetcher::new(&cache, &mirrors, |_| None, &mut nothing).unwrap();
    let error = ingredients.steps(&mut fetcher).unwrap_err();
    assert!(
        error.report().contains("fetch plugin at 012345678901"),
        "{}",
        error.report()
    );
    assert_eq!(std::fs::read_dir(cache).unwrap().count(), 0);
}

#[test]
fn packages_of_all_recipes_are_installed_at_once_from_the_mirrors() {
    let _uninterrupted = uninterrupted();
    let folder = tempfile::tempdir().unwrap();
    let first = read(folder.path(), "packages = [\"jq\", \"tree\"]").unwrap();
    let second = read(folder.path(), "packages = [\"tree\", \"make\"]").unwrap();
    let mirrors = Mirrors {
        debian: Some("http://deb.example/debian".to_owned()),
        ..Mirrors::default()
    };
    let steps = steps(vec![first, second], &mirrors, folder.path());
    let [only] = &*steps else {
        panic!("{steps:?}");
    };
    assert_eq!(only.name, "packages (3)");
    assert!(
        only.script
            .contains("--no-install-recommends jq make tree\n")
    );
    assert!(
        only.script.contains("http://deb.example/debian"),
        "{}",
        only.script
    );
    assert!(only.script.contains("Dir::Etc::SourceParts=-"));
    let syntax = banger_host::command::Command::new("sh").args(["-n", "-c", &only.script]);
    syntax.run().unwrap();
}

#[test]
fn the_recipe_of_the_documents_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let text = include_str!("../../../../../docs/recipes.md");
    let samples: Vec<&str> = text
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let [recipe, mirrors] = &*samples else {
        panic!("{samples:?}");
    };
    let recipe = read(folder.path(), recipe).unwrap();
    assert_eq!(recipe.downloads.len(), 2);
    let config = crate::config::Config::default();
    let config = config
        .parse(Path::new("sample"), mirrors.as_bytes())
        .unwrap();
    assert!(config.mirrors.debian.is_some() && config.mirrors.git.is_some());
}
