//! JSON values that cannot be of the wrong type. Each type here takes every JSON value and keeps what
//! it can use; the rest becomes its default, so that one odd attribute never costs the event.

use std::{borrow::Cow, collections::VecDeque, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// A type that can be made of any JSON value: each shape it does not name gives the default.
pub(in crate::protocol) trait Lenient: Default {
    fn from_text(_: &str) -> Self {
        Self::default()
    }

    fn from_bool(_: bool) -> Self {
        Self::default()
    }

    /// Wide enough for every integer that `serde_json` tells from a float.
    fn from_integer(_: i128) -> Self {
        Self::default()
    }

    fn from_float(_: f64) -> Self {
        Self::default()
    }

    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

/// Reads a [`Lenient`] type with serde.
pub(in crate::protocol) struct Any<T>(pub(in crate::protocol) T);

impl<'de, T: Lenient> Deserialize<'de> for Any<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor(PhantomData)).map(Any)
    }
}

struct AnyVisitor<T>(PhantomData<T>);

impl<'de, T: Lenient> Visitor<'de> for AnyVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok(T::from_text(text))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        Ok(T::from_bool(value))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        Ok(T::from_integer(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        Ok(T::from_integer(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        Ok(T::from_float(number))
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::from_list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<T, A::Error> {
        T::from_object(object)
    }
}

/// Name of an attribute, borrowed from the payload where it has no escapes.
pub(in crate::protocol) struct Name<'de>(Cow<'de, str>);

impl Name<'_> {
    pub(in crate::protocol) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of an attribute")
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}

/// The value that follows a name.
pub(in crate::protocol) fn value<'de, T: Lenient, A: MapAccess<'de>>(object: &mut A) -> Result<T, A::Error> {
    object.next_value::<Any<T>>().map(|value| value.0)
}

/// Passes over a value without looking inside: even what `serde_json` would refuse there does no harm.
pub(in crate::protocol) fn skip<'de, A: MapAccess<'de>>(object: &mut A) -> Result<(), A::Error> {
    object.next_value::<IgnoredAny>().map(|_| ())
}

/// The last usable value of a repeated attribute counts.
pub(in crate::protocol) fn assign<T>(slot: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *slot = value;
    }
}

/// A JSON object read attribute by attribute.
pub(in crate::protocol) trait Attributes: Default {
    /// Takes the one value that belongs to `name`: exactly one call of [`value`] or [`skip`].
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error>;
}

/// Whatever is left of a list or an object, passed over.
#[derive(Default)]
pub(in crate::protocol) struct Rest;

impl Lenient for Rest {}

/// An object, or nothing when it was anything else.
pub(in crate::protocol) struct Object<T>(pub(in crate::protocol) Option<T>);

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Attributes> Lenient for Object<T> {
    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut attributes = T::default();
        while let Some(name) = object.next_key::<Name<'_>>()? {
            attributes.read(name.as_str(), &mut object)?;
        }
        Ok(Self(Some(attributes)))
    }
}

/// Collects the objects of a list one at a time, so that a long list need not be held whole.
pub(in crate::protocol) trait Collect: Default {
    type Item: Attributes;

    fn push(&mut self, item: Self::Item);
}

/// `[…]`, `{"values": […]}`, or a single object that stands for a list of one; null entries are left out.
#[derive(Default)]
pub(in crate::protocol) struct Values<C>(pub(in crate::protocol) C);

impl<C: Collect> Lenient for Values<C> {
    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut items = C::default();
        while let Some(Any(Object(item))) = list.next_element::<Any<Object<C::Item>>>()? {
            if let Some(item) = item {
                items.push(item);
            }
        }
        Ok(Self(items))
    }

    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut values = None;
        let mut single = None;
        while let Some(name) = object.next_key::<Name<'_>>()? {
            if name.as_str() == "values" {
                values = Some(value::<Self, A>(&mut object)?);
            } else {
                single.get_or_insert_with(C::Item::default).read(name.as_str(), &mut object)?;
            }
        }
        Ok(values.unwrap_or_else(|| {
            let mut items = C::default();
            if let Some(single) = single {
                items.push(single);
            }
            Self(items)
        }))
    }
}

/// The first `HEAD` and the last `TAIL` of however many come; what lies between is dropped.
pub(in crate::protocol) struct Ends<T, const HEAD: usize, const TAIL: usize> {
    head: Vec<T>,
    tail: VecDeque<T>,
    dropped: usize,
}

/// A list that was too long, without its middle.
#[derive(Debug)]
pub(in crate::protocol) struct Kept<T> {
    pub(in crate::protocol) items: Vec<T>,
    /// How many came between its two ends.
    pub(in crate::protocol) dropped: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { items: Vec::new(), dropped: 0 }
    }
}

impl<T> Kept<T> {
    pub(in crate::protocol) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl<T, const HEAD: usize, const TAIL: usize> Default for Ends<T, HEAD, TAIL> {
    fn default() -> Self {
        Self { head: Vec::new(), tail: VecDeque::new(), dropped: 0 }
    }
}

impl<T, const HEAD: usize, const TAIL: usize> Ends<T, HEAD, TAIL> {
    pub(in crate::protocol) fn push(&mut self, item: T) {
        if self.head.len() < HEAD {
            self.head.push(item);
        } else {
            if self.tail.len() == TAIL {
                self.tail.pop_front();
                self.dropped += 1;
            }
            self.tail.push_back(item);
        }
    }

    pub(in crate::protocol) fn into_kept(mut self) -> Kept<T> {
        self.head.extend(self.tail);
        Kept { items: self.head, dropped: self.dropped }
    }
}
