//! Images of containers: OCI layouts, and what docker saves.

use super::*;

/// Writes an OCI layout with one layer of this kind, and returns the path of the layer. Its image for
/// newer processors is missing.
fn layout(folder: &Path, layer: &[u8], kind: &str) -> PathBuf {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |content: &[u8]| {
        let path = folder.join("blob");
        std::fs::write(&path, content).unwrap();
        let digest = crate::image::bundle::sha256(&path).unwrap();
        std::fs::rename(&path, blobs.join(&digest)).unwrap();
        format!("sha256:{digest}")
    };
    let digest = put(layer);
    let config = put(format!(r#"{{"rootfs":{{"diff_ids":["{digest}"]}}}}"#).as_bytes());
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"digest":"{config}","size":9}},
            "layers":[{{"mediaType":"{kind}","digest":"{digest}","size":9}}]}}"#
    );
    let manifest = put(manifest.as_bytes());
    let platform = |digest: &str, of: &str| {
        format!(r#"{{"digest":"{digest}","platform":{{"os":"linux","architecture":{of}}}}}"#)
    };
    let missing = format!("sha256:{}", "0".repeat(64));
    let manifests = [
        platform(&missing, r#""arm64""#),
        platform(&missing, r#""amd64","variant":"v3""#),
        platform(&manifest, r#""amd64""#),
    ];
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
        manifests.join(",")
    );
    std::fs::write(folder.join("index.json"), index).unwrap();
    std::fs::write(folder.join("oci-layout"), "{}").unwrap();
    blobs.join(digest.trim_start_matches("sha256:"))
}

#[test]
fn a_layout_is_taken_as_a_directory_and_as_an_archive_and_only_with_its_digests() {
    let (bundle, folder) = place();
    let (directory, source) = (folder.path().join("oci"), folder.path().join("oci.tar"));
    let layer = layout(&directory, &bootable(&[]), LAYER);
    let pack = || {
        let tar = Command::new("tar")
            .arg("-C")
            .arg(&directory)
            .arg("-cf")
            .arg(&source);
        tar.arg(".").run().unwrap();
    };
    pack();
    for source in [&directory, &source] {
        let made = make(source, bundle.path(), &mut nothing).unwrap();
        assert!(seen(&made.path, "stat /usr/bin/sudo").contains("Mode:  04755"));
    }
    let mut damaged = std::fs::read(&layer).unwrap();
    damaged[0] ^= 1;
    std::fs::write(&layer, damaged).unwrap();
    pack();
    for source in [&directory, &source] {
        let error = make(source, bundle.path(), &mut nothing).unwrap_err();
        assert!(error.to_string().contains("digest"), "{error}");
    }
}

#[test]
fn layers_that_are_encrypted_are_refused_in_a_layout_as_in_a_registry() {
    let (bundle, folder) = place();
    let directory = folder.path().join("oci");
    layout(&directory, b"?", &format!("{LAYER}+encrypted"));
    let error = make(&directory, bundle.path(), &mut nothing).unwrap_err();
    assert!(error.to_string().contains("encrypted"), "{error}");
}

#[test]
fn what_docker_saves_has_its_layers_in_the_order_of_its_manifest() {
    let (bundle, folder) = place();
    let above = archive(&[("usr/bin/.wh.sudo", FILE, b"")]);
    let length = above.metadata().unwrap().len();
    let mut upper = Vec::new();
    std::io::Read::read_to_end(&mut Window::part(&above, 0, length).unwrap(), &mut upper).unwrap();
    let lower = bootable(&[]);
    let digest = |content: &[u8]| {
        let path = folder.path().join("content");
        std::fs::write(&path, content).unwrap();
        crate::image::bundle::sha256(&path).unwrap()
    };
    let config = format!(
        r#"{{"rootfs":{{"diff_ids":["sha256:{}","sha256:{}"]}}}}"#,
        digest(&lower),
        digest(&upper)
    );
    let manifest = br#"[{"Config":"c.json","Layers":["2/layer.tar","1/layer.tar"]}]"#;
    let mut out = Builder::new(File::create(folder.path().join("saved.tar")).unwrap());
    for (path, content) in [
        ("1/layer.tar", &upper[..]),
        ("2/layer.tar", &lower),
        ("c.json", config.as_bytes()),
        ("manifest.json", manifest),
    ] {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        out.append_data(&mut header, path, content).unwrap();
    }
    out.finish().unwrap();
    let made = make(
        &folder.path().join("saved.tar"),
        bundle.path(),
        &mut nothing,
    )
    .unwrap();
    let names = seen(&made.path, "ls /usr/bin");
    assert!(
        names.contains("sudo-too") && !names.contains("sudo "),
        "{names}"
    );
}
