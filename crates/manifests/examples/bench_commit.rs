//! What a commit costs that changes one manifest of many, from the fetch to the plan: `bench_commit FILES`. The peer is reading all
//! of them, as the first commit does. Prints `name<TAB>value<TAB>unit`.

use std::path::Path;
use std::time::Instant;

use git2::{FileMode, Oid, Repository, Signature};
use jiff::Timestamp;
use manifests::git::{Fetched, Options, Source};
use manifests::read::Reader;
use reconcile::{Desired, Observed, plan_units};

/// Files in one folder, as a fleet repository would have it.
const FOLDER: usize = 500;
/// Commits that are measured; the fastest counts, since the machine does other things too.
const COMMITS: usize = 5;

fn main() {
    let files: usize = std::env::args().nth(1).and_then(|size| size.parse().ok()).unwrap_or(1000);
    let folder = std::env::temp_dir().join(format!("evenkeel-bench-{}", std::process::id()));
    let result = measure(&folder, files);
    let _ = std::fs::remove_dir_all(&folder);
    result.expect("git works");
}

fn measure(folder: &Path, files: usize) -> Result<(), Box<dyn std::error::Error>> {
    let (mut head, packed) = first(&folder.join("fleet.git"), files)?;
    let repository = Repository::open_bare(folder.join("fleet.git"))?;
    let odb = repository.odb()?;
    let mut writer = odb.packwriter()?;
    std::io::Write::write_all(&mut writer, &packed)?;
    writer.commit()?;

    let runtime = tokio::runtime::Runtime::new()?;
    let source = Source::new(&folder.join("fleet.git").display().to_string(), &folder.join("cache"), Options::default())?;
    let mut state = State { reader: Reader::default(), desired: Desired::default() };
    let begin = Instant::now();
    let fetched = runtime.block_on(source.poll(None))?.ok_or("a first commit")?;
    let fetch = begin.elapsed();
    let (all, read) = runtime.block_on(state.follow(&source, fetched))?;
    assert_eq!(read, files + 1);
    println!("commit_{files}_first_fetch\t{:.1}\tms", fetch.as_secs_f64() * 1000.0);
    println!("commit_{files}_all\t{:.1}\tms", all * 1000.0);
    let (mut best, mut best_fetch) = (f64::MAX, f64::MAX);
    for number in 1..=COMMITS {
        head = commit(&repository, files, number, Some(head))?;
        let known = state.desired.revision.commit.clone();
        let begin = Instant::now();
        let fetched = runtime.block_on(source.poll(Some(&known)))?.ok_or("another commit")?;
        best_fetch = best_fetch.min(begin.elapsed().as_secs_f64());
        let (one, read) = runtime.block_on(state.follow(&source, fetched))?;
        assert_eq!(read, 1);
        best = best.min(one);
    }
    println!("commit_{files}_fetch\t{:.2}\tms", best_fetch * 1000.0);
    println!("commit_{files}_one\t{:.2}\tms", best * 1000.0);
    Ok(())
}

/// The first commit, in memory, and the pack that has all of it: a hundred thousand loose files would take their time.
fn first(at: &Path, files: usize) -> Result<(Oid, Vec<u8>), Box<dyn std::error::Error>> {
    let repository = Repository::init_bare(at)?;
    let odb = repository.odb()?;
    let memory = odb.add_new_mempack_backend(1000)?;
    let head = commit(&repository, files, 0, None)?;
    let mut packed = git2::Buf::new();
    memory.dump(&repository, &mut packed)?;
    Ok((head, packed.to_vec()))
}

struct State {
    reader: Reader,
    desired: Desired,
}

impl State {
    /// From a fetched commit to the plan: seconds, and how many files were read.
    async fn follow(&mut self, source: &Source, fetched: Fetched) -> Result<(f64, usize), Box<dyn std::error::Error>> {
        let begin = Instant::now();
        let wanted = self.reader.missing(&fetched.changed).map(str::to_owned).collect();
        let contents = source.blobs(wanted).await?;
        let (changes, read) =
            self.reader.update(&fetched.changed, fetched.whole, |_, id| contents.get(id).cloned().ok_or_else(|| "missing".into()));
        let (desired, changed, findings) = manifests::update(&self.reader, changes, &self.desired, fetched.revision);
        assert!(findings.is_empty());
        let plan = plan_units(&desired, &Observed::default(), Timestamp::now(), &changed.deployments);
        std::hint::black_box(plan);
        let seconds = begin.elapsed().as_secs_f64();
        self.desired = desired;
        Ok((seconds, read))
    }
}

/// A commit of a fleet of `files` devices and one Deployment for some of them; `number` is the address of the first.
fn commit(repository: &Repository, files: usize, number: usize, parent: Option<Oid>) -> Result<Oid, git2::Error> {
    let before = parent.map(|parent| repository.find_commit(parent)).transpose()?;
    let mut root = repository.treebuilder(before.as_ref().map(git2::Commit::tree).transpose()?.as_ref())?;
    let folders = if before.is_some() { 1 } else { files.div_ceil(FOLDER) };
    for folder in 0..folders {
        let mut tree = repository.treebuilder(None)?;
        for file in (folder * FOLDER..files).take(FOLDER) {
            let address = if file == 0 { number } else { file };
            let text = format!(
                "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata:\n  name: d-{file:06}\n  labels: {{role: r{}, site: s{}}}\nspec:\n  type: Server\n  address: 10.{}.{}.{}\n  access: {{ssh: {{user: ops, hostKeys: [\"ssh-ed25519 AAAA\"]}}}}\n",
                file / 1000,
                file % 7,
                address >> 16 & 255,
                address >> 8 & 255,
                address & 255
            );
            tree.insert(format!("d-{file:06}.yaml"), repository.blob(text.as_bytes())?, FileMode::Blob.into())?;
        }
        root.insert(format!("f-{folder:04}"), tree.write()?, FileMode::Tree.into())?;
    }
    let unit = "apiVersion: evenkeel.dev/v1alpha1\nkind: Deployment\nmetadata: {name: app}\nspec:\n  selector: {matchLabels: {role: r0}}\n  package: {apt: {name: app, version: 1.0-1}}\n";
    root.insert("app.yaml", repository.blob(unit.as_bytes())?, FileMode::Blob.into())?;
    let tree = repository.find_tree(root.write()?)?;
    let who = Signature::now("Bench", "bench@example.com")?;
    let parents: Vec<&git2::Commit<'_>> = before.iter().collect();
    repository.commit(Some("refs/heads/main"), &who, &who, "fleet", &tree, &parents)
}
