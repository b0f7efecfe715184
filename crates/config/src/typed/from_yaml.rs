//! Gives the tree of a YAML file to serde.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::WrongValue;
use crate::node::{Entry, Kind, Node};
use crate::problem::Problem;
use crate::scalar::{Number, Scalar, plain};

/// The value of a file.
pub(super) fn read<T: DeserializeOwned>(root: &Node) -> Result<T, Box<Problem>> {
    T::deserialize(root).map_err(|error| error.at(start(root)).into_problem())
}

/// The first byte of a section, whose span may have many lines. A scalar is shown whole.
fn start(node: &Node) -> std::ops::Range<usize> {
    match node.kind {
        Kind::Scalar { .. } => node.span.clone(),
        Kind::List(_) | Kind::Map(_) => node.span.start..node.span.start,
    }
}

impl<'de> Deserializer<'de> for &Node {
    type Error = WrongValue;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WrongValue> {
        let result = match &self.kind {
            Kind::Scalar { text, quoted: true } => visitor.visit_str(text),
            Kind::Scalar { text, quoted: false } => match plain(text) {
                Scalar::Null => visitor.visit_unit(),
                Scalar::Bool(truth) => visitor.visit_bool(truth),
                Scalar::Number(Number::Whole(number)) => visitor.visit_u64(number),
                Scalar::Number(Number::Negative(number)) => visitor.visit_i64(number),
                Scalar::Number(Number::Float(number)) => visitor.visit_f64(number),
                Scalar::Text => visitor.visit_str(text),
            },
            Kind::List(items) => visitor.visit_seq(Items(items.iter())),
            Kind::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
        };
        result.map_err(|error| error.at(start(self)))
    }

    /// A plain `7` is a valid text.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WrongValue> {
        match &self.kind {
            Kind::Scalar { text, .. } if !self.is_null() => {
                visitor.visit_str(text).map_err(|error: WrongValue| error.at(start(self)))
            }
            Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WrongValue> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WrongValue> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, WrongValue> {
        visitor.visit_newtype_struct(self)
    }

    /// A name alone, or a section with the name as its only key.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, WrongValue> {
        let result = match &self.kind {
            Kind::Scalar { text, .. } if !self.is_null() => {
                visitor.visit_enum(Named { name: text, at: self, value: None })
            }
            Kind::Map(entries) => match entries.as_slice() {
                [Entry { key, value, .. }] => visitor.visit_enum(Named { name: key, at: self, value: Some(value) }),
                _ => Err(WrongValue::new(
                    format!("this section has {} keys", entries.len()),
                    "keep the one that names the choice".to_owned(),
                )),
            },
            Kind::Scalar { .. } | Kind::List(_) => Err(WrongValue::of_unknown("name", "", names)),
        };
        result.map_err(|error| error.at(start(self)))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct map
        struct identifier ignored_any
    }
}

/// The items of a list.
struct Items<'n>(std::slice::Iter<'n, Node>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = WrongValue;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, WrongValue> {
        self.0.next().map(|item| seed.deserialize(item).map_err(|error| error.at(start(item)))).transpose()
    }
}

/// The keys of a section and their values.
struct Entries<'n> {
    rest: std::slice::Iter<'n, Entry>,
    value: Option<&'n Node>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = WrongValue;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, WrongValue> {
        let Some(entry) = self.rest.next() else { return Ok(None) };
        self.value = Some(&entry.value);
        let key: StrDeserializer<'_, WrongValue> = StrDeserializer::new(&entry.key);
        seed.deserialize(key).map(Some).map_err(|error| error.at(entry.key_span.clone()))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, WrongValue> {
        let nothing = Node::nothing(0..0);
        let value = self.value.take().unwrap_or(&nothing);
        seed.deserialize(value).map_err(|error| error.at(start(value)))
    }
}

/// A choice by name, with its value.
struct Named<'n> {
    name: &'n str,
    /// Where the choice is.
    at: &'n Node,
    /// `None`: the name stands alone.
    value: Option<&'n Node>,
}

impl<'de, 'n> EnumAccess<'de> for Named<'n> {
    type Error = WrongValue;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), WrongValue> {
        let name: StrDeserializer<'_, WrongValue> = StrDeserializer::new(self.name);
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'n> Named<'n> {
    /// The value. Without one, it is an empty section.
    fn with_value<T>(&self, read: impl FnOnce(&Node) -> Result<T, WrongValue>) -> Result<T, WrongValue> {
        let given = self.value.filter(|value| !value.is_empty());
        let empty = Node { span: start(self.at), kind: Kind::Map(Vec::new()) };
        read(given.unwrap_or(&empty))
    }
}

impl<'de> VariantAccess<'de> for Named<'_> {
    type Error = WrongValue;

    fn unit_variant(self) -> Result<(), WrongValue> {
        match self.value.filter(|value| !value.is_empty()) {
            None => Ok(()),
            Some(_) => {
                Err(WrongValue::new(format!("`{}` takes no value", self.name), "write the name alone".to_owned()))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, WrongValue> {
        self.with_value(|value| seed.deserialize(value))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, WrongValue> {
        self.with_value(|value| value.deserialize_any(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, WrongValue> {
        self.with_value(|value| value.deserialize_any(visitor))
    }
}
