//! A line of the log, taken apart as far as other schemas need it. What is within is left as it was written: strings keep
//! their escapes, so that what is made of them is ASCII again.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A line, as `docs/events.md` describes it.
#[derive(Debug)]
pub struct CoderLine<'a> {
    /// When it happened: RFC 3339.
    pub ts: &'a str,
    /// `INFO`, `WARN` or `ERROR`.
    pub level: &'a str,
    /// What the line is.
    pub msg: &'a str,
    /// The source file that wrote it.
    pub caller: &'a str,
    /// The function that wrote it.
    pub func: &'a str,
    /// The workspace's labels.
    pub labels: Members<'a>,
    /// The arguments, quoted for a shell.
    pub cmdline: Option<&'a RawValue>,
    /// Name of the last member of `fields`, such as `event`.
    pub kind: Cow<'a, str>,
    /// That member.
    pub body: Members<'a>,
}

impl<'a> CoderLine<'a> {
    /// Fails if it is no line of a log.
    pub fn parse(line: &'a [u8]) -> Result<CoderLine<'a>, serde_json::Error> {
        let Outer { ts, level, msg, caller, func, mut fields } = serde_json::from_slice(line)?;
        let labels = fields.take("labels").map_or(Ok(Members::default()), |raw| serde_json::from_str(raw.get()))?;
        let cmdline = fields.take("cmdline");
        let (kind, body) = fields.0.pop().ok_or_else(|| de::Error::custom("the line has no body"))?;
        Ok(CoderLine { ts, level, msg, caller, func, labels, cmdline, kind, body: serde_json::from_str(body.get())? })
    }
}

#[derive(serde::Deserialize)]
struct Outer<'a> {
    ts: &'a str,
    level: &'a str,
    msg: &'a str,
    caller: &'a str,
    func: &'a str,
    #[serde(borrow)]
    fields: Members<'a>,
}

/// The members of an object, in their order.
#[derive(Debug, Default)]
pub struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Takes one out.
    pub fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.remove(at).1)
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// What lines about processes tell, under the names of ours; what is left in the body has no counterpart elsewhere.
#[derive(Debug)]
pub struct Process<'a> {
    /// The file that runs; where it is known by another path than it was asked for, that one stays in the body.
    pub executable: Option<&'a RawValue>,
    /// The arguments.
    pub argv: Option<&'a RawValue>,
    /// How many there were.
    pub argc: Option<&'a RawValue>,
    /// The process.
    pub pid: Option<&'a RawValue>,
    /// Its parent.
    pub ppid: Option<&'a RawValue>,
    /// Its number in the namespace of its scope.
    pub vpid: Option<&'a RawValue>,
    /// The exec.
    pub id: Option<&'a RawValue>,
    /// The exec before it up the line.
    pub parent_id: Option<&'a RawValue>,
    /// Real user.
    pub uid: Option<&'a RawValue>,
    /// Effective user, which is the real one where the line says nothing.
    pub euid: Option<&'a RawValue>,
    /// Real group.
    pub gid: Option<&'a RawValue>,
    /// Effective group, likewise.
    pub egid: Option<&'a RawValue>,
    /// Leader of the session.
    pub sid: Option<&'a RawValue>,
    /// The current folder.
    pub cwd: Option<&'a RawValue>,
    /// The controlling terminal; it stays in the body.
    pub tty: Option<&'a RawValue>,
    /// The pod's container.
    pub container: Option<&'a RawValue>,
    /// When it was forked, of what ran before.
    pub started: Option<&'a RawValue>,
    /// Errno of an attempt that failed.
    pub error: Option<&'a RawValue>,
    /// What it gave to exit(3).
    pub code: Option<&'a RawValue>,
    /// From the exec to the end, in nanoseconds.
    pub duration_ns: Option<&'a RawValue>,
}

impl<'a> Process<'a> {
    /// Takes them out of a body.
    pub fn take(body: &mut Members<'a>) -> Process<'a> {
        let uid = body.take("uid");
        let gid = body.take("gid");
        Process {
            executable: body.take("exe").or_else(|| body.take("filename")),
            argv: body.take("argv"),
            argc: body.take("argc"),
            pid: body.take("pid"),
            ppid: body.take("ppid"),
            vpid: body.take("vpid"),
            id: body.take("id"),
            parent_id: body.take("parent_id"),
            euid: body.take("euid").or(uid),
            uid,
            egid: body.take("egid").or(gid),
            gid,
            sid: body.take("sid"),
            cwd: body.take("cwd"),
            tty: body.get("tty"),
            container: body.take("container"),
            started: body.take("started"),
            error: body.take("error"),
            code: body.take("code"),
            duration_ns: body.take("duration_ns"),
        }
    }
}

/// Whether a body of this name is about a process.
pub(crate) fn is_of_process(kind: &str) -> bool {
    kind == "event"
}

/// The last part of a path, without its escapes; `None` if the path ends in a slash, or the part is longer than `most`
/// bytes with them.
pub(crate) fn base_name(path: &RawValue, most: usize) -> Option<String> {
    let text = path.get().strip_prefix('"')?.strip_suffix('"')?;
    let name = text.rsplit('/').next().filter(|name| !name.is_empty() && name.len() <= most)?;
    serde_json::from_str(&format!("\"{name}\"")).ok()
}

/// A string without its escapes.
pub(crate) fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// The number in the number of a line, `RUN-N`.
pub(crate) fn sequence(line: &RawValue) -> Option<i64> {
    string(line)?.split_once('-')?.1.parse().ok()
}
