//! AMD's rocrtst64, unmodified, on unmodified ROCr and the software GPU: every test in a process of its own, with a deadline, into
//! the table test x outcome of results/rocr/. A test that passed may not stop passing.
//!
//! tests/rocr/run makes what this needs (the sysroot and the stand-in for AMD SMI) and then runs it.

mod known;
mod outcome;
mod process;
mod table;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;

use known::Known;
use outcome::Outcome;
use process::Bench;
use table::{Row, When};

const TARGETS: [&str; 2] = ["gfx942", "gfx1100"];
const LISTING_DEADLINE: Duration = Duration::from_secs(20);

/// AMD's rocrtst64 on ROCr and the software GPU, held against results/rocr/.
#[derive(Debug, Parser)]
#[command(name = "rocrtst_table")]
struct Options {
    /// Only this target (may be given twice) [default: both]
    #[arg(long, value_parser = TARGETS)]
    target: Vec<String>,
    /// The sysroot that tests/rocr/sysroot made
    #[arg(long, env = "AQLPROBE_ROCR_SYSROOT", default_value = "target/rocr/sysroot")]
    sysroot: PathBuf,
    /// The aqlprobe to run the tests with, libaqlprobe.so beside it
    #[arg(long, env = "AQLPROBE_PROBE", default_value = env!("CARGO_BIN_EXE_aqlprobe"))]
    probe: PathBuf,
    /// The long tests too
    #[arg(long)]
    full: bool,
    /// Write the outcomes to results/rocr/ instead of only holding them against it
    #[arg(long)]
    update: bool,
    /// Only tests with this in their name; the table is not updated then
    #[arg(long, conflicts_with = "update")]
    only: Option<String>,
    /// How many tests run at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// One test's row, and whether ROCr's event abort made it a second run.
struct Measured {
    row: Row,
    repeated: bool,
}

fn main() -> ExitCode {
    match measure_all(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("rocrtst: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every target still passes what it passed.
fn measure_all(options: &Options) -> Result<bool> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let known = known::parse(include_str!("known.tsv")).context("known.tsv")?;
    let mut kept = true;
    for target in TARGETS {
        if options.target.is_empty() || options.target.iter().any(|asked| asked == target) {
            let outputs = repository.join("target/rocr/rocrtst").join(target);
            fs::create_dir_all(&outputs).with_context(|| format!("cannot keep outputs in {}", outputs.display()))?;
            let absolute =
                |path: &Path| fs::canonicalize(path).with_context(|| format!("no {}: tests/rocr/run makes it", path.display()));
            let bench = Bench { probe: absolute(&options.probe)?, sysroot: absolute(&options.sysroot)?, target, outputs };
            let committed = repository.join(format!("results/rocr/rocrtst-{target}.tsv"));
            kept &= measure(options, &bench, &known, &committed)?;
        }
    }
    Ok(kept)
}

fn measure(options: &Options, bench: &Bench, known: &[Known], committed: &Path) -> Result<bool> {
    let before = match fs::read_to_string(committed) {
        Ok(text) => table::parse(&text).with_context(|| committed.display().to_string())?,
        Err(_) => Vec::new(),
    };
    let offered = list(bench)?;
    let wanted = |test: &&String| {
        options.only.as_ref().is_none_or(|part| test.contains(part)) && (options.full || known::of(known, test).when != When::Full)
    };
    let chosen: Vec<&String> = offered.iter().filter(wanted).collect();
    println!("rocrtst on {}: {} of {} tests", bench.target, chosen.len(), offered.len());

    let waiting = Mutex::new(chosen.iter().enumerate().collect::<VecDeque<_>>());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                // The lock is held for the pop alone; no holder can panic.
                while let Some((place, test)) = waiting.lock().ok().and_then(|mut waiting| waiting.pop_front()) {
                    let measured = run_one(bench, &known::of(known, test), test);
                    if let Ok(mut done) = done.lock() {
                        done.push((place, measured));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().context("a worker panicked")?;
    done.sort_by_key(|(place, _)| *place);
    let measured = done.into_iter().map(|(_, measured)| measured).collect::<Result<Vec<_>>>()?;
    if measured.len() != chosen.len() {
        bail!("{} tests were to run and {} did", chosen.len(), measured.len());
    }
    let repeated = measured.iter().filter(|test| test.repeated).count();
    let rows: Vec<Row> = measured.into_iter().map(|test| test.row).collect();

    let changes = table::compare(&before, &rows, &offered);
    changes.iter().for_each(|change| println!("  {change}"));
    let count = |outcome: &dyn Fn(&Outcome) -> bool| rows.iter().filter(|row| outcome(&row.outcome)).count();
    println!(
        "rocrtst on {}: {} passed, {} passed but left something out, {} did not pass, {} not run; repeated for ROCr's event abort: {repeated}",
        bench.target,
        count(&|outcome| *outcome == Outcome::Pass),
        count(&|outcome| *outcome == Outcome::PassSkipped),
        count(&|outcome| outcome.rank() == 0),
        offered.len() - rows.len(),
    );
    if options.update {
        let version = rocr_version(&bench.sysroot)?;
        let text = table::write(bench.target, &version, &merged(&offered, &before, rows, known));
        fs::create_dir_all(committed.parent().context("the table lies in a directory")?)?;
        fs::write(committed, text).with_context(|| format!("cannot write {}", committed.display()))?;
        println!("wrote {}", committed.display());
        return Ok(true);
    }
    Ok(!changes.iter().any(table::Change::fails_the_bed))
}

/// The tests that the program says it has, disabled ones too.
fn list(bench: &Bench) -> Result<Vec<String>> {
    let listing = bench.run("list", &["--gtest_list_tests"], LISTING_DEADLINE).context("cannot run rocrtst64")?;
    let mut suite = "";
    let mut tests = Vec::new();
    for line in listing.output.lines() {
        match line.strip_prefix("  ") {
            Some(test) if suite.starts_with("rocrtst") => tests.push(format!("{suite}{}", test.trim())),
            _ => suite = line.trim(),
        }
    }
    if tests.is_empty() {
        bail!("rocrtst64 lists no tests: {}", listing.output.trim());
    }
    Ok(tests)
}

fn run_one(bench: &Bench, known: &Known, test: &str) -> Result<Measured> {
    let filter = format!("--gtest_filter={test}");
    let run = || {
        let arguments = ["--gtest_also_run_disabled_tests", "--gtest_color=no", &filter];
        bench.run(test, &arguments, known.deadline).with_context(|| format!("cannot run {test}"))
    };
    let mut ran = run()?;
    let repeated = outcome::is_event_abort(&ran.output);
    if repeated {
        ran = run()?;
    }
    let outcome = match known.when {
        When::Unstable => Outcome::Unstable,
        When::Always | When::Full => outcome::judge(ran.ending, &ran.output),
    };
    let reason = known.reason(&outcome, &ran.output);
    let (said, milliseconds) = (outcome.to_string(), ran.took.as_millis());
    let because = if reason == "-" { String::new() } else { format!(": {reason}") };
    println!("  {said:<14} {test} ({milliseconds} ms){because}");
    let row = Row { test: test.to_owned(), outcome, needs_kernels: known.needs_kernels, when: known.when, reason };
    Ok(Measured { row, repeated })
}

/// The new table: every test that the program has, in its order; what this run left out keeps its last outcome.
fn merged(offered: &[String], before: &[Row], mut measured: Vec<Row>, known: &[Known]) -> Vec<Row> {
    let mut row_of = |test: &String| {
        if let Some(at) = measured.iter().position(|row| row.test == *test) {
            return measured.swap_remove(at);
        }
        before.iter().find(|row| row.test == *test).cloned().unwrap_or_else(|| {
            let known = known::of(known, test);
            let reason = known.reason(&Outcome::NotRun, "");
            Row { test: test.clone(), outcome: Outcome::NotRun, needs_kernels: known.needs_kernels, when: known.when, reason }
        })
    };
    offered.iter().map(&mut row_of).collect()
}

fn rocr_version(sysroot: &Path) -> Result<String> {
    let packages =
        fs::read_to_string(sysroot.join("packages.txt")).context("the sysroot does not say which packages it is made of")?;
    let version = packages.lines().find_map(|line| line.strip_prefix("package libhsa-runtime64-1 "));
    Ok(version.context("the sysroot holds no libhsa-runtime64-1")?.to_owned())
}
