//! What was measured: rows of figures, for machines as they are and for people as tables.

use std::fmt::Write;
use std::fs;

use serde::Serialize;

use super::programs::{ByName, Runs, mean};

/// Something that was measured, or why it could not be.
pub(crate) enum Measured<T> {
    Row(T),
    Skipped(String),
}

/// All figures of one call.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// When it began.
    pub(crate) date: String,
    /// Of exectrace.
    pub(crate) version: String,
    pub(crate) machine: Machine,
    /// Of the workload, in each measurement.
    pub(crate) execs: u64,
    pub(crate) workers: u32,
    pub(crate) rounds: u32,
    pub(crate) tools: Vec<ToolRow>,
    pub(crate) kernel: Vec<KernelRow>,
    pub(crate) scopes: Vec<ScopesRow>,
    pub(crate) encode: Vec<EncodeRow>,
    pub(crate) sidecars: Vec<SidecarsRow>,
    pub(crate) skipped: Vec<Skipped>,
}

/// Where it was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) architecture: String,
    pub(crate) processor: String,
    pub(crate) processors: usize,
    /// Bytes.
    pub(crate) memory: u64,
    /// Of the last minute, when it began: above 0 something else ran too.
    pub(crate) load: f64,
}

impl Machine {
    pub(crate) fn this() -> Machine {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_start_matches([' ', '\t', ':']).to_owned()
        };
        let kib = value(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse::<u64>();
        let load = read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok());
        Machine {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            processor: value(&read("/proc/cpuinfo"), "model name"),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory: kib.unwrap_or_default() * 1024,
            load: load.unwrap_or_default(),
        }
    }
}

/// What could not be measured.
#[derive(Debug, Serialize)]
pub(crate) struct Skipped {
    pub(crate) what: String,
    pub(crate) why: String,
}

/// One tool in one round.
#[derive(Debug, Serialize)]
pub(crate) struct ToolRow {
    pub(crate) tool: String,
    /// Of the workload, right before the tool was started.
    pub(crate) untraced_execs_per_second: f64,
    pub(crate) traced_execs_per_second: f64,
    /// Execs that do not stand in its output.
    pub(crate) lost: u64,
    /// Of an argument of so many letters.
    pub(crate) letters_kept: usize,
    pub(crate) letters: usize,
    /// Processor time of the tool while the workload ran and after it.
    pub(crate) cpu_us_per_exec: f64,
    /// The same from its start on.
    pub(crate) cpu_seconds: f64,
    /// Resident, bytes.
    pub(crate) peak_memory: u64,
    pub(crate) bytes_per_exec: f64,
    /// From its start to the first exec that it saw.
    pub(crate) attached_ms: f64,
    /// Of getppid(2).
    pub(crate) untraced_call_ns: f64,
    pub(crate) traced_call_ns: f64,
}

/// What a tool's programs cost in the kernel.
#[derive(Debug, Serialize)]
pub(crate) struct KernelRow {
    pub(crate) tool: String,
    /// All programs, for one exec of the workload with its fork and its exit.
    pub(crate) ns_per_exec: f64,
    pub(crate) programs: Vec<ProgramRow>,
}

impl KernelRow {
    pub(crate) fn new(tool: &str, runs: &ByName, execs: u64) -> KernelRow {
        KernelRow { tool: tool.to_owned(), ns_per_exec: per_exec(runs, execs), programs: program_rows(runs) }
    }
}

/// One program.
#[derive(Debug, Serialize)]
pub(crate) struct ProgramRow {
    pub(crate) program: String,
    pub(crate) runs: u64,
    /// Mean of one run.
    pub(crate) ns: f64,
}

/// An exec that is nobody's.
#[derive(Debug, Serialize)]
pub(crate) struct ScopesRow {
    pub(crate) scopes: u32,
    pub(crate) ns_per_exec: f64,
    pub(crate) programs: Vec<ProgramRow>,
}

impl ScopesRow {
    pub(crate) fn new(scopes: u32, runs: &ByName, execs: u64) -> ScopesRow {
        ScopesRow { scopes, ns_per_exec: per_exec(runs, execs), programs: program_rows(runs) }
    }
}

/// Records to bytes.
#[derive(Debug, Serialize)]
pub(crate) struct EncodeRow {
    /// Secrets were looked for.
    pub(crate) redaction: bool,
    /// What can be folded was folded.
    pub(crate) rollup: bool,
    pub(crate) execs: u64,
    /// Of lines of their own.
    pub(crate) bytes: u64,
    /// Of one core.
    pub(crate) seconds: f64,
}

/// Many scopes, with a tracer each or with one for all.
#[derive(Debug, Serialize)]
pub(crate) struct SidecarsRow {
    pub(crate) scopes: u32,
    pub(crate) tracers: u32,
    pub(crate) untraced_execs_per_second: f64,
    pub(crate) traced_execs_per_second: f64,
    pub(crate) lost: u64,
    /// Of all tracers, while the workload ran and after it.
    pub(crate) cpu_seconds: f64,
    /// Resident, bytes, of all tracers; what they share counts once for each.
    pub(crate) peak_memory: u64,
    /// From the start of the first to the last that was attached, one after the other.
    pub(crate) attached_ms: f64,
    /// All programs of all tracers.
    pub(crate) kernel_ns_per_exec: u64,
}

fn per_exec(runs: &ByName, execs: u64) -> f64 {
    mean(runs.values().map(|runs| runs.nanoseconds).sum(), execs)
}

fn program_rows(runs: &ByName) -> Vec<ProgramRow> {
    let row = |(name, runs): (&String, &Runs)| ProgramRow { program: name.clone(), runs: runs.count, ns: runs.mean() };
    runs.iter().map(row).collect()
}

impl Report {
    pub(crate) fn skip(&mut self, what: impl Into<String>, why: String) {
        self.skipped.push(Skipped { what: what.into(), why });
    }

    /// Tables in Markdown, which people can read as they are.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let machine = &self.machine;
        let _ = writeln!(
            out,
            "exectrace {}, {}: Linux {} on {}, {} x {}, {:.0} GiB, load {:.2} at the beginning; \
             {} execs by {} workers in each measurement.\n",
            self.version,
            self.date,
            machine.kernel,
            machine.architecture,
            machine.processors,
            machine.processor,
            gib(machine.memory),
            machine.load,
            self.execs,
            self.workers,
        );
        self.tools_text(&mut out);
        self.kernel_text(&mut out);
        self.scopes_text(&mut out);
        for row in &self.encode {
            let _ = writeln!(
                out,
                "From the record in the ring to the bytes of a JSON line, {} redaction{}: {:.0} execs/s for each core, \
                 {:.0} bytes each ({} execs).\n",
                if row.redaction { "with" } else { "without" },
                if row.rollup { " and with roll-up" } else { "" },
                ratio(row.execs, row.seconds),
                mean(row.bytes, row.execs),
                row.execs
            );
        }
        self.sidecars_text(&mut out);
        for Skipped { what, why } in &self.skipped {
            let _ = writeln!(out, "Not measured: {what}: {why}");
        }
        out
    }

    fn tools_text(&self, out: &mut String) {
        if self.tools.is_empty() {
            return;
        }
        out.push_str(
            "| tool | untraced, execs/s | traced, execs/s | of untraced | lost | letters of 4,096 kept | its CPU, µs/exec | \
             its CPU in all, s | memory, MiB | bytes/exec | attached after, ms | getppid, ns: without, with |\n",
        );
        out.push_str("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
        for (tool, rows) in self.by_tool() {
            let of = |figure: fn(&ToolRow) -> f64, digits| range(rows.iter().map(|row| figure(row)), digits);
            let shares = rows.iter().map(|row| row.traced_execs_per_second / row.untraced_execs_per_second * 100.0);
            let _ = writeln!(
                out,
                "| {tool} | {} | {} | {} % | {} | {} | {} | {} | {} | {} | {} | {}, {} |",
                of(|row| row.untraced_execs_per_second, 0),
                of(|row| row.traced_execs_per_second, 0),
                range(shares, 0),
                of(|row| lossy(row.lost), 0),
                of(|row| lossy(row.letters_kept as u64), 0),
                of(|row| row.cpu_us_per_exec, 1),
                of(|row| row.cpu_seconds, 2),
                of(|row| mib(row.peak_memory), 1),
                of(|row| row.bytes_per_exec, 0),
                of(|row| row.attached_ms, 0),
                of(|row| row.untraced_call_ns, 1),
                of(|row| row.traced_call_ns, 1),
            );
        }
        out.push('\n');
    }

    /// The rows of each tool together, in the order in which the tools come first.
    fn by_tool(&self) -> Vec<(&str, Vec<&ToolRow>)> {
        let mut tools: Vec<(&str, Vec<&ToolRow>)> = Vec::new();
        for row in &self.tools {
            match tools.iter_mut().find(|(tool, _)| *tool == row.tool) {
                Some((_, rows)) => rows.push(row),
                None => tools.push((&row.tool, vec![row])),
            }
        }
        tools
    }

    fn kernel_text(&self, out: &mut String) {
        if self.kernel.is_empty() {
            return;
        }
        out.push_str(
            "| in the kernel | ns for an exec, its fork and its exit | of these, by program |\n| --- | --- | --- |\n",
        );
        for row in &self.kernel {
            let _ = writeln!(out, "| {} | {:.0} | {} |", row.tool, row.ns_per_exec, programs(&row.programs));
        }
        out.push('\n');
    }

    fn scopes_text(&self, out: &mut String) {
        if self.scopes.is_empty() {
            return;
        }
        out.push_str("| scopes | ns for an exec that is nobody's, its fork and its exit | of these, by program |\n");
        out.push_str("| --- | --- | --- |\n");
        for row in &self.scopes {
            let _ = writeln!(out, "| {} | {:.0} | {} |", row.scopes, row.ns_per_exec, programs(&row.programs));
        }
        out.push('\n');
    }

    fn sidecars_text(&self, out: &mut String) {
        if self.sidecars.is_empty() {
            return;
        }
        out.push_str(
            "| scopes | tracers | untraced, execs/s | traced, execs/s | of untraced | lost | CPU of all, s | \
             memory of all, MiB | attached after, ms | in the kernel, ns/exec |\n",
        );
        out.push_str("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
        for row in &self.sidecars {
            let _ = writeln!(
                out,
                "| {} | {} | {:.0} | {:.0} | {:.0} % | {} | {:.2} | {:.0} | {:.0} | {} |",
                row.scopes,
                row.tracers,
                row.untraced_execs_per_second,
                row.traced_execs_per_second,
                row.traced_execs_per_second / row.untraced_execs_per_second * 100.0,
                row.lost,
                row.cpu_seconds,
                mib(row.peak_memory),
                row.attached_ms,
                row.kernel_ns_per_exec,
            );
        }
        out.push('\n');
    }
}

fn programs(rows: &[ProgramRow]) -> String {
    rows.iter().map(|row| format!("{} {:.0}", row.program, row.ns)).collect::<Vec<_>>().join(", ")
}

/// The least and the greatest, or one if they look the same.
fn range(figures: impl Iterator<Item = f64> + Clone, digits: usize) -> String {
    let least = format!("{:.digits$}", figures.clone().fold(f64::INFINITY, f64::min));
    let greatest = format!("{:.digits$}", figures.fold(f64::NEG_INFINITY, f64::max));
    if least == greatest { least } else { format!("{least} to {greatest}") }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn lossy(count: u64) -> f64 {
    count as f64
}

fn ratio(count: u64, by: f64) -> f64 {
    if by > 0.0 { lossy(count) / by } else { 0.0 }
}

fn mib(bytes: u64) -> f64 {
    lossy(bytes) / lossy(1 << 20)
}

fn gib(bytes: u64) -> f64 {
    lossy(bytes) / lossy(1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tool: &str, traced: f64, lost: u64) -> ToolRow {
        ToolRow {
            tool: tool.to_owned(),
            untraced_execs_per_second: 20_000.0,
            traced_execs_per_second: traced,
            lost,
            letters_kept: 4096,
            letters: 4096,
            cpu_us_per_exec: 4.0,
            cpu_seconds: 0.2,
            peak_memory: 15 << 20,
            bytes_per_exec: 685.0,
            attached_ms: 90.0,
            untraced_call_ns: 125.0,
            traced_call_ns: 125.0,
        }
    }

    #[test]
    fn the_rounds_of_a_tool_are_one_line_with_the_range_of_each_figure() {
        let tools = vec![row("exectrace", 18_000.0, 0), row("other", 9_000.0, 7), row("exectrace", 19_000.0, 0)];
        let text = Report { tools, ..Report::default() }.text();
        assert!(text.contains("| exectrace | 20000 | 18000 to 19000 | 90 to 95 % | 0 |"), "{text}");
        assert!(text.contains("| other | 20000 | 9000 | 45 % | 7 |"), "{text}");
    }

    #[test]
    fn what_was_not_measured_is_said_with_why() {
        let mut report = Report::default();
        report.skip("auditd", "not installed".to_owned());
        assert!(report.text().contains("Not measured: auditd: not installed"));
    }
}
