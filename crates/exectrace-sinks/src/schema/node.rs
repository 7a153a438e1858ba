//! JSON that is put together from parts of a line.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::ascii::Ascii;
use crate::coder::Members;

/// A value.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// As it is in the line.
    Raw(&'a RawValue),
    /// A string that is made here.
    Text(Cow<'a, str>),
    Number(i64),
    Bool(bool),
    Words(&'static [&'static str]),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// An object of what there is; `None` if there is nothing.
pub(super) fn object<'a, const N: usize>(members: [(&'static str, Option<Node<'a>>); N]) -> Option<Node<'a>> {
    let there = members.into_iter().filter_map(|(name, node)| Some((Cow::Borrowed(name), node?)));
    Some(there.collect::<Vec<_>>()).filter(|members| !members.is_empty()).map(Node::Object)
}

/// What is left of an object; `None` if nothing is.
pub(super) fn rest(members: Members<'_>) -> Option<Node<'_>> {
    let nodes = members.0.into_iter().map(|(name, raw)| (name, Node::Raw(raw)));
    Some(nodes.collect::<Vec<_>>()).filter(|members| !members.is_empty()).map(Node::Object)
}

pub(super) fn text<'a>(text: impl Into<Cow<'a, str>>) -> Option<Node<'a>> {
    Some(Node::Text(text.into()))
}

pub(super) fn number(number: i64) -> Option<Node<'static>> {
    Some(Node::Number(number))
}

/// A number as a string, which identifiers are elsewhere.
pub(super) fn quoted(raw: Option<&RawValue>) -> Option<Node<'_>> {
    raw.and_then(|raw| text(raw.get()))
}

pub(super) fn raw(raw: Option<&RawValue>) -> Option<Node<'_>> {
    raw.map(Node::Raw)
}

impl Node<'_> {
    /// Adds it to `out`, in ASCII.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        self.serialize(&mut serde_json::Serializer::with_formatter(out, Ascii))
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Raw(raw) => raw.serialize(serializer),
            Node::Text(text) => serializer.serialize_str(text),
            Node::Number(number) => serializer.serialize_i64(*number),
            Node::Bool(is) => serializer.serialize_bool(*is),
            Node::Words(words) => words.serialize(serializer),
            Node::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, node)| map.serialize_entry(name, node))?;
                map.end()
            }
        }
    }
}
