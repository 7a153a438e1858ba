//! Lines in the schemas of others: what has a name there gets it, and all the rest stays beside it under our names.
//! What OCSF has no room for, `docs/formats.md` says.
//!
//! Such a line is not what the writer sealed: only ours can be verified.

mod ecs;
mod node;
mod ocsf;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::coder::CoderLine;

/// What the lines of a log look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Schema {
    /// Ours.
    #[default]
    Coder,
    /// Elastic Common Schema.
    Ecs,
    /// Open Cybersecurity Schema Framework.
    Ocsf,
}

impl Schema {
    /// How many bytes a line can have more than ours, if [`Host::name`] has at most 64: the names of the schema.
    pub fn growth(self) -> usize {
        match self {
            Schema::Coder => 0,
            Schema::Ecs | Schema::Ocsf => 2048,
        }
    }
}

/// Where lines come from, which they do not say themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// exectrace's version.
    pub version: &'static str,
}

/// Makes lines of one schema from ours. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Translator {
    schema: Schema,
    host: Arc<Host>,
}

impl Translator {
    /// For lines of one machine. A name of more than 64 bytes, which Linux does not have, is cut.
    pub fn new(schema: Schema, mut host: Host) -> Translator {
        host.name.truncate(host.name.floor_char_boundary(64));
        Translator { schema, host: Arc::new(host) }
    }

    /// Adds the translation of one line, neither with a line break, to `out`: JSON in ASCII. What is not a line of ours,
    /// which does not happen, stays as it is.
    pub fn translate(&self, line: &[u8], out: &mut Vec<u8>) {
        let of = match self.schema {
            Schema::Coder => return out.extend_from_slice(line),
            Schema::Ecs => ecs::line,
            Schema::Ocsf => ocsf::line,
        };
        let start = out.len();
        let result = CoderLine::parse(line).and_then(|line| of(line, &self.host).write(out));
        if let Err(error) = result {
            tracing::error!("a line stays as it is, because it is none of ours: {error}");
            out.truncate(start);
            out.extend_from_slice(line);
        }
    }
}
