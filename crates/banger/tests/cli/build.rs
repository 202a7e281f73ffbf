//! `banger image build`, on a simulated host, where every script succeeds.

use crate::environment::TestEnvironment;

const DIGEST: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

/// A recipe with one download from this URL, whose content is `hello`.
fn recipe(environment: &TestEnvironment, url: &str) -> String {
    let path = environment.path("recipe.toml");
    let text = format!(
        "packages = [\"jq\"]\n[[download]]\nurl = \"{url}\"\nsha256 = \"{DIGEST}\"\nto = \"/opt/hello\"\n\
         [[command]]\nname = \"look\"\nrun = \"cat /opt/hello\"\n"
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_recipe_becomes_an_image_and_its_log_tells_each_step() {
    let environment = TestEnvironment::new();
    let file = environment.path("hello");
    std::fs::write(&file, "hello\n").unwrap();
    let recipe = recipe(&environment, file.to_str().unwrap());
    let build = ["image", "build", "--name", "mine", "--recipe", &recipe];
    let run = environment.run(&build);
    assert_eq!(run.status, 0, "{run:#?}");
    for told in [
        "download hello",
        "packages (1)",
        "put hello",
        "run look",
        "tidy up",
    ] {
        assert!(run.stderr.contains(told), "{told}: {run:#?}");
    }
    assert!(
        run.stdout.contains("banger vm create --image mine"),
        "{run:#?}"
    );
    assert_eq!(
        environment.done(&["image", "ls", "-q"]).stdout,
        "default\nmine\n"
    );
    assert_eq!(environment.done(&["vm", "ls", "-q"]).stdout, "");
    let again = environment.run(&build);
    assert_eq!(again.status, 1);
    assert!(again.stderr.contains("already"), "{again:#?}");
}

#[test]
fn a_download_with_another_digest_builds_nothing() {
    let environment = TestEnvironment::new();
    let file = environment.path("hello");
    std::fs::write(&file, "another\n").unwrap();
    let recipe = recipe(&environment, file.to_str().unwrap());
    let run = environment.run(&["image", "build", "--name", "mine", "--recipe", &recipe]);
    assert_eq!(run.status, 1);
    assert!(
        run.stderr.contains("SHA-256") && run.stderr.contains(DIGEST),
        "{run:#?}"
    );
    assert_eq!(environment.done(&["image", "ls", "-q"]).stdout, "default\n");
}
