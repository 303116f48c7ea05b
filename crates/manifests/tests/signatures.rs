//! Signed commits, made by git with `ssh-keygen` and `gpg`.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{World, commit, git};
use crds::VerifyMode;
use manifests::git::{Error, Options, Source};

impl World {
    fn keys(&self) -> PathBuf {
        let keys = self.path("keys");
        std::fs::create_dir_all(&keys).unwrap();
        keys
    }

    fn verified(&self) -> Source {
        self.source(Options { keys: Some(self.keys()), ..Options::default() })
    }

    /// Commits, signed in the way that these settings say.
    fn signed(&self, settings: &[&str], text: &str) {
        std::fs::write(self.work().join("a.yaml"), text).unwrap();
        git(&self.work(), &["add", "-A"]);
        let settings = settings.iter().flat_map(|setting| ["-c", setting]);
        let arguments: Vec<&str> = settings.chain(["commit", "-q", "-S", "-m", "signed"]).collect();
        git(&self.work(), &arguments);
    }

    /// Puts another message into the signed head commit.
    fn tamper(&self) {
        let raw = git(&self.work(), &["cat-file", "commit", "HEAD"]);
        let forged = self.path("forged");
        std::fs::write(&forged, raw.replace("\nsigned", "\nsigned, honestly\n")).unwrap();
        let id = git(&self.work(), &["hash-object", "-t", "commit", "-w", forged.to_str().unwrap()]);
        git(&self.work(), &["update-ref", "refs/heads/main", &id]);
    }

    #[cfg(feature = "openpgp")]
    fn head(&self) -> String {
        git(&self.work(), &["rev-parse", "HEAD"])
    }
}

async fn refused(source: &Source) -> String {
    match source.poll(None).await {
        Err(Error::Unverified { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

async fn signer(source: &Source) -> String {
    source.poll(None).await.unwrap().unwrap().revision.signer.unwrap()
}

#[tokio::test]
async fn commits_signed_with_ssh_keys() {
    let world = World::new();
    let key = |name: &str| {
        let path = world.path(name);
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path).status().unwrap();
        assert!(made.success());
        path
    };
    let (ann, eve) = (key("ann"), key("eve"));
    let by = |key: &Path| ["gpg.format=ssh".to_owned(), format!("user.signingKey={}", key.display())];
    let signed = |key: &Path, text: &str| world.signed(&by(key).each_ref().map(String::as_str), text);
    let no_keys = Source::new("/x", &world.cache(), Options { keys: Some(world.keys()), ..Options::default() }).map(|_| ()).unwrap_err();
    assert!(no_keys.to_string().contains("there is no public key"), "{no_keys}");
    std::fs::copy(ann.with_extension("pub"), world.keys().join("ann.pub")).unwrap();

    commit(&world.work(), &[("a.yaml", "a: 0\n")]);
    let source = world.verified();
    assert_eq!(refused(&source).await, "it is not signed (author ann@example.com)");
    signed(&ann, "a: 1\n");
    assert!(signer(&source).await.starts_with("ann SHA256:"));
    signed(&eve, "a: 2\n");
    assert!(refused(&source).await.starts_with("it is signed by the unknown key SHA256:"));
    let known = git(&world.work(), &["rev-parse", "HEAD~1"]);
    assert!(matches!(source.poll(Some(&known)).await, Err(Error::Unverified { .. })));

    // Keys come and go while the engine runs.
    std::fs::copy(eve.with_extension("pub"), world.keys().join("eve.pub")).unwrap();
    assert!(signer(&source).await.starts_with("eve SHA256:"));
    std::fs::remove_file(world.keys().join("eve.pub")).unwrap();
    assert!(refused(&source).await.contains("unknown key"));

    signed(&ann, "a: 3\n");
    world.tamper();
    assert!(refused(&source).await.starts_with("the signature by ann SHA256:"));
    assert!(refused(&source).await.contains("is wrong: the commit was changed after it was signed"));
}

/// Every commit since the one that was known is signed, also those that a merge brings; and each file is answered for by whoever signed the
/// newest commit of the branch that touched it.
#[tokio::test]
async fn ancestors_are_verified_and_answer_for_their_files() {
    let world = World::new();
    let key = |name: &str| {
        let path = world.path(name);
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path).status().unwrap();
        assert!(made.success());
        path
    };
    let (ann, bob) = (key("ann"), key("bob"));
    for key in [&ann, &bob] {
        let public = key.with_extension("pub");
        std::fs::copy(&public, world.keys().join(public.file_name().unwrap())).unwrap();
    }
    let by = |key: &Path, arguments: &[&str]| {
        let signing = format!("user.signingKey={}", key.display());
        git(&world.work(), &[&["-c", "gpg.format=ssh", "-c", &signing], arguments].concat())
    };
    let put = |file: &str, text: &str| {
        std::fs::write(world.work().join(file), text).unwrap();
        git(&world.work(), &["add", "-A"]);
    };
    let signed = |key: &Path, file: &str, text: &str| {
        put(file, text);
        by(key, &["commit", "-q", "-S", "-m", "signed"]);
        git(&world.work(), &["rev-parse", "HEAD"]).trim().to_owned()
    };
    let options = |mode| Options { keys: Some(world.keys()), mode, ..Options::default() };
    let source = world.source(options(VerifyMode::Ancestors));
    let old = {
        // Of a repository that is new, the newest commit counts.
        commit(&world.work(), &[("a.yaml", "a: 0\n")]);
        signed(&ann, "b.yaml", "b: 0\n")
    };
    assert!(signer(&source).await.starts_with("ann SHA256:"));
    let known = |commit: &str| {
        let (source, commit) = (source.clone(), commit.to_owned());
        async move { source.poll(Some(&commit)).await.map(|fetched| fetched.unwrap().revision.commit) }
    };

    signed(&ann, "a.yaml", "a: 1\n");
    signed(&bob, "b.yaml", "b: 1\n");
    signed(&ann, "b.yaml", "b: 2\n");
    let head = signed(&bob, "c.yaml", "c: 1\n");
    assert_eq!(known(&old).await.unwrap(), head);
    let answers = source.answers(&head, Some(&old)).await.unwrap().unwrap();
    let who =
        |signer: Option<&manifests::verify::Signer>| signer.map_or("nobody", |signer| signer.who.split(' ').next().unwrap()).to_owned();
    assert_eq!(["a.yaml", "b.yaml", "c.yaml"].map(|file| who(answers.of(file))), ["ann", "ann", "bob"]);
    assert!(answers.follows && answers.of("elsewhere.yaml").is_none(), "nobody has touched it");
    let bobs = std::fs::read_to_string(bob.with_extension("pub")).unwrap();
    assert_eq!(reconcile::access::signer(&answers.files["c.yaml"].keys[0]), reconcile::access::signer(&bobs));
    // Where the head alone is verified, and where nothing was known, it answers for all.
    let only_head = world.at(world.work().to_str().unwrap(), options(VerifyMode::Head));
    only_head.poll(None).await.unwrap();
    for (source, since) in [(&only_head, Some(old.as_str())), (&source, None)] {
        let answers = source.answers(&head, since).await.unwrap().unwrap();
        assert!(answers.follows && answers.files.is_empty() && who(answers.of("a.yaml")) == "bob");
    }
    assert!(source.answers(&head, Some(&head)).await.unwrap().unwrap().follows);
    // A branch that was set back does not follow; let through, whoever signed its head answers for all of it.
    for source in [&only_head, &source] {
        let answers = source.answers(&old, Some(&head)).await.unwrap().unwrap();
        assert!(!answers.follows && answers.files.is_empty() && who(answers.of("c.yaml")) == "ann");
    }

    // What a merge brings is verified too, and answered for by whoever merged.
    git(&world.work(), &["checkout", "-q", "-b", "side", &old]);
    signed(&bob, "side.yaml", "s: 1\n");
    git(&world.work(), &["checkout", "-q", "main"]);
    by(&ann, &["merge", "-q", "--no-ff", "-S", "-m", "merged", "side"]);
    let merged = git(&world.work(), &["rev-parse", "HEAD"]).trim().to_owned();
    assert_eq!(known(&head).await.unwrap(), merged);
    let answers = source.answers(&merged, Some(&head)).await.unwrap().unwrap();
    assert_eq!(who(answers.of("side.yaml")), "ann");

    // Bob makes what Ann once signed a part of the branch again, old or never merged: in his own name, also where Ann goes on from there.
    git(&world.work(), &["checkout", "-q", "-b", "draft", &old]);
    let draft = signed(&ann, "a.yaml", "a: draft\n");
    for first in [&old, &draft] {
        git(&world.work(), &["checkout", "-q", "--detach", first]);
        by(&bob, &["merge", "-q", "--no-ff", "-S", "-m", "foxtrot", "-s", "ours", &merged]);
        signed(&ann, "z.yaml", "z: 1\n");
        let head = git(&world.work(), &["rev-parse", "HEAD"]).trim().to_owned();
        git(&world.work(), &["branch", "-f", "main", &head]);
        assert_eq!(known(&merged).await.unwrap(), head);
        let answers = source.answers(&head, Some(&merged)).await.unwrap().unwrap();
        assert!(answers.follows);
        assert_eq!(["a.yaml", "c.yaml", "z.yaml"].map(|file| who(answers.of(file))), ["bob", "bob", "ann"]);
    }
    // A branch that was rewritten beside the one that was known does not follow it, by whomever.
    git(&world.work(), &["branch", "-f", "main", &draft]);
    assert_eq!(known(&merged).await.unwrap(), draft);
    let answers = source.answers(&draft, Some(&merged)).await.unwrap().unwrap();
    assert!(!answers.follows && who(answers.of("c.yaml")) == "ann");
    git(&world.work(), &["branch", "-f", "main", &merged]);

    git(&world.work(), &["checkout", "-q", "-b", "unsigned", &old]);
    put("sly.yaml", "s: 1\n");
    git(&world.work(), &["commit", "-q", "-m", "not signed"]);
    git(&world.work(), &["checkout", "-q", "main"]);
    by(&ann, &["merge", "-q", "--no-ff", "-S", "-m", "merged", "unsigned"]);
    let error = known(&merged).await.unwrap_err();
    assert!(matches!(&error, Error::Unverified { reason, .. } if reason.starts_with("it is not signed")), "{error}");
    // Whoever only looks at the head does not see that.
    assert!(only_head.poll(Some(&merged)).await.unwrap().unwrap().revision.signer.unwrap().starts_with("ann"));

    // More than are verified at once is said to be so.
    git(&world.work(), &["reset", "-q", "--hard", &merged]);
    let head = "refs/heads/main";
    let mut stream = format!("reset {head}\nfrom {merged}\n\n");
    for number in 0..manifests::git::MAX_COMMITS {
        stream.push_str(&format!("commit {head}\ncommitter x <x@example.com> {number} +0000\ndata 1\nx\n\n"));
    }
    let file = world.path("stream");
    std::fs::write(&file, stream).unwrap();
    let status = Command::new("git")
        .arg("-C")
        .arg(world.work())
        .args(["fast-import", "--quiet", "--force"])
        .stdin(std::fs::File::open(file).unwrap())
        .status();
    assert!(status.unwrap().success());
    git(&world.work(), &["reset", "-q", "--hard"]);
    by(&ann, &["commit", "-q", "--allow-empty", "-S", "-m", "signed"]);
    let error = known(&merged).await.unwrap_err();
    assert!(matches!(&error, Error::TooMany { what, .. } if what.starts_with("more than 1000 commits since")), "{error}");
    git(&world.work(), &["reset", "-q", "--hard", "HEAD~1"]);
    let error = known(&merged).await.unwrap_err();
    assert!(matches!(&error, Error::Unverified { .. }), "as many as may be are verified: {error}");
}

#[cfg(feature = "openpgp")]
mod openpgp {
    use super::*;

    /// A directory of keys for `gpg`; its agent is ended with it.
    struct Gpg {
        home: tempfile::TempDir,
    }

    impl Drop for Gpg {
        fn drop(&mut self) {
            let _ = Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).output();
        }
    }

    impl Gpg {
        fn new() -> Option<Self> {
            common::find("gpg", &["/usr/bin/gpg", "/usr/local/bin/gpg"])?;
            // Its sockets want a short path.
            let home = tempfile::Builder::new().prefix("gpg").tempdir().unwrap();
            Some(Self { home })
        }

        fn run(&self, arguments: &[&str], input: &str) -> String {
            use std::io::Write as _;
            let mut child = Command::new("gpg")
                .arg("--homedir")
                .arg(self.home.path())
                .args(["--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""])
                .args(arguments)
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        }

        /// Makes a key, and returns its fingerprint.
        fn key(&self, who: &str, algorithm: &str, usage: &str, expire: &str) -> String {
            self.key_at(&[], who, &[algorithm, usage, expire])
        }

        fn key_at(&self, time: &[&str], who: &str, kind: &[&str]) -> String {
            self.run(&[time, &["--quick-generate-key", &format!("{who} <{who}@example.com>")], kind].concat(), "");
            let listed = self.run(&["--with-colons", "--list-keys", &format!("{who}@example.com")], "");
            listed.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap().trim_end_matches(':').to_owned()
        }

        fn export(&self, key: &str) -> String {
            self.run(&["--armor", "--export", key], "")
        }

        /// The setting that lets git sign with this key, with more options for `gpg`.
        fn signs(&self, key: &str, options: &str) -> [String; 2] {
            use std::os::unix::fs::PermissionsExt as _;
            let program = self.home.path().join(format!("sign{}", options.len()));
            let home = self.home.path().display();
            std::fs::write(
                &program,
                format!(
                    "#!/bin/sh\nexec gpg --homedir '{home}' --batch --no-tty --pinentry-mode loopback --passphrase '' {options} \"$@\"\n"
                ),
            )
            .unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            [format!("gpg.program={}", program.display()), format!("user.signingKey={key}")]
        }
    }

    fn sign(world: &World, settings: &[String], text: &str) {
        world.signed(&settings.iter().map(String::as_str).collect::<Vec<_>>(), text);
    }

    #[tokio::test]
    async fn commits_signed_with_openpgp_keys() {
        let Some(gpg) = Gpg::new() else { return };
        let world = World::new();
        let ann = gpg.key("ann", "ed25519", "sign", "never");
        let rsa = gpg.key("rsa", "rsa2048", "sign,cert", "1y");
        let eve = gpg.key("eve", "nistp256", "sign", "never");
        std::fs::write(world.keys().join("ann.asc"), gpg.export(&ann)).unwrap();
        gpg.run(&["--output", world.keys().join("rsa.gpg").to_str().unwrap(), "--export", &rsa], "");
        let source = world.verified();

        sign(&world, &gpg.signs(&ann, ""), "a: 1\n");
        assert_eq!(signer(&source).await, format!("ann <ann@example.com> {ann}"));
        sign(&world, &gpg.signs(&rsa, ""), "a: 2\n");
        assert_eq!(signer(&source).await, format!("rsa <rsa@example.com> {rsa}"));
        sign(&world, &gpg.signs(&eve, ""), "a: 3\n");
        assert_eq!(refused(&source).await, format!("it is signed by the unknown key {eve} (author ann@example.com)"));
        sign(&world, &gpg.signs(&ann, "--digest-algo SHA1"), "a: 4\n");
        assert!(refused(&source).await.contains("uses a hash that is broken"));

        sign(&world, &gpg.signs(&ann, ""), "a: 5\n");
        world.tamper();
        let error = refused(&source).await;
        assert!(error.contains(&format!("the signature by ann <ann@example.com> {ann} is wrong: the commit was changed")), "{error}");
    }

    #[tokio::test]
    async fn a_subkey_signs_for_its_owner_until_it_is_revoked() {
        let Some(gpg) = Gpg::new() else { return };
        let world = World::new();
        let ann = gpg.key("ann", "ed25519", "cert", "never");
        gpg.run(&["--quick-add-key", &ann, "ed25519", "sign", "1y"], "");
        std::fs::write(world.keys().join("ann.asc"), gpg.export(&ann)).unwrap();
        sign(&world, &gpg.signs(&ann, ""), "a: 1\n");
        let source = world.verified();
        let who = signer(&source).await;
        assert!(who.starts_with("ann <ann@example.com> ") && !who.contains(&ann), "{who}");

        gpg.run(&["--command-fd", "0", "--edit-key", &ann], "key 1\nrevkey\ny\n0\n\ny\nsave\n");
        std::fs::write(world.keys().join("ann.asc"), gpg.export(&ann)).unwrap();
        assert_eq!(refused(&source).await, format!("{who} is revoked (author ann@example.com)"));
    }

    #[tokio::test]
    async fn a_revoked_key_is_refused() {
        let Some(gpg) = Gpg::new() else { return };
        let world = World::new();
        let ann = gpg.key("ann", "ed25519", "sign", "never");
        std::fs::write(world.keys().join("ann.asc"), gpg.export(&ann)).unwrap();
        sign(&world, &gpg.signs(&ann, ""), "a: 1\n");
        let source = world.verified();
        source.poll(None).await.unwrap().unwrap();
        let certificate = std::fs::read_to_string(gpg.home.path().join(format!("openpgp-revocs.d/{ann}.rev"))).unwrap();
        gpg.run(&["--import"], &certificate.replace(":-----BEGIN", "-----BEGIN"));
        std::fs::write(world.keys().join("ann.asc"), gpg.export(&ann)).unwrap();
        assert_eq!(refused(&source).await, format!("the key of ann <ann@example.com> {ann} is revoked (author ann@example.com)"));
        // Nor is what was in force before taken for good.
        assert!(matches!(source.at(&world.head()).await, Err(Error::Unverified { .. })));
    }

    #[tokio::test]
    async fn a_key_that_expired_signs_nothing_new() {
        let Some(gpg) = Gpg::new() else { return };
        let world = World::new();
        let then = ["--faked-system-time", "20200101T120000"];
        let ann = gpg.key_at(&then, "ann", &["ed25519", "sign", "2020-02-01"]);
        let later = gpg.key_at(&["--faked-system-time", "20990101T120000"], "zoe", &["ed25519", "sign", "never"]);
        std::fs::write(world.keys().join("ann.asc"), gpg.export(&ann)).unwrap();
        std::fs::write(world.keys().join("zoe.asc"), gpg.export(&later)).unwrap();
        sign(&world, &gpg.signs(&ann, "--faked-system-time 20200115T120000"), "a: 1\n");
        let source = world.verified();
        let error = refused(&source).await;
        assert!(error.contains(&format!("the key of ann <ann@example.com> {ann} expired on 2020-02-01")), "{error}");
        // What came in force while the key was good stays good.
        assert!(source.at(&world.head()).await.unwrap().revision.signer.is_some());

        sign(&world, &gpg.signs(&later, "--faked-system-time 20990102T120000"), "a: 2\n");
        assert!(refused(&source).await.contains("was made in the future, on 2099-01-02"));
        let bob = gpg.key_at(&then, "bob", &["ed25519", "sign", "never"]);
        std::fs::write(world.keys().join("bob.asc"), gpg.export(&bob)).unwrap();
        sign(&world, &gpg.signs(&bob, "--default-sig-expire 5 --faked-system-time 20200115T120000"), "a: 3\n");
        assert!(refused(&source).await.contains("ended on 2020-01-20"), "{}", refused(&source).await);
    }

    #[tokio::test]
    async fn what_is_no_key_is_said() {
        let world = World::new();
        for (name, text, wanted) in [
            ("a.asc", "nonsense", "not an OpenPGP public key"),
            ("a.gpg", "\u{99}\u{99}nonsense", "not an OpenPGP public key"),
            ("a.pub", "nonsense", "not an OpenSSH public key"),
            ("a.asc", "", "not an OpenPGP public key"),
        ] {
            let keys = tempfile::tempdir_in(world.home.path()).unwrap();
            std::fs::write(keys.path().join(name), text).unwrap();
            let error = Source::new("/x", &world.cache(), Options { keys: Some(keys.path().into()), ..Options::default() })
                .map(|_| ())
                .unwrap_err();
            assert!(error.to_string().contains(wanted) && error.to_string().contains(name), "{error}");
        }
    }
}
