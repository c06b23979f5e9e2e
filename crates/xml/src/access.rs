//! From a slot, which is `dyn Any`, to a value or an element: one small object per field shape (`T`, `Option<T>`, `Vec<T>`).
//!
//! Invariant: the derive pairs each slot with the access of its own type, so the downcasts here cannot fail.

use std::any::Any;
use std::marker::PhantomData;

use crate::table::{Element, Table};
use crate::value::{Codec, Scalar, Style, ValueContext, ValueError, ValueKind};

/// Reads and writes the values of a slot.
pub trait ValueAccess: Sync {
    /// Puts a value into the slot; a list grows by it.
    ///
    /// # Errors
    /// What is wrong with the text.
    fn parse(&self, slot: &mut dyn Any, text: &str, context: &ValueContext<'_>) -> Result<(), ValueError>;
    /// How many values there are.
    fn count(&self, slot: &dyn Any) -> usize;
    /// Appends the text of one of them, not escaped.
    fn write(&self, slot: &dyn Any, index: usize, style: Style, out: &mut String);
    /// One of them for JSON and TOML.
    fn scalar<'a>(&self, slot: &'a dyn Any, index: usize) -> Option<Scalar<'a>>;
    /// What values there are.
    fn kind(&self) -> ValueKind;
    /// The unit in which it counts.
    fn unit(&self) -> Option<&'static str>;
    /// The unit that is printed beside one of them.
    fn unit_of(&self, slot: &dyn Any, index: usize) -> Option<&'static str>;
    /// Whether it holds any number of values.
    fn is_list(&self) -> bool {
        false
    }
}

/// Reads and writes the elements of a slot.
pub trait ElementAccess: Sync {
    /// An element to fill: a new one in a list, a fresh one in an `Option`, the one there is otherwise. `None` if the slot
    /// takes one and has it.
    fn begin<'a>(&self, slot: &'a mut dyn Any) -> Option<&'a mut dyn Element>;
    /// How many elements there are.
    fn count(&self, slot: &dyn Any) -> usize;
    /// One of them.
    fn item<'a>(&self, slot: &'a dyn Any, index: usize) -> Option<&'a dyn Element>;
    /// The table of their type.
    fn table(&self) -> &'static Table;
    /// Whether it holds any number of elements.
    fn is_list(&self) -> bool {
        false
    }
    /// Whether the slot is the element itself, so that it is printed only if it holds anything.
    fn is_plain(&self) -> bool {
        false
    }
}

const PAIRED: &str = "the derive pairs a slot with the access of its type";

fn get<T: 'static>(slot: &dyn Any) -> &T {
    slot.downcast_ref().expect(PAIRED)
}

fn get_mut<T: 'static>(slot: &mut dyn Any) -> &mut T {
    slot.downcast_mut().expect(PAIRED)
}

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<T, C = ()>(PhantomData<fn() -> (T, C)>);

        impl<T, C> $name<T, C> {
            /// The access; it has no state.
            pub const ACCESS: Self = Self(PhantomData);
        }
    )*};
}

shapes!(
    /// A slot of type `T`.
    One,
    /// A slot of type `Option<T>`.
    Maybe,
    /// A slot of type `Vec<T>`.
    Many,
    /// A slot of type `Option<Box<T>>`.
    Boxed
);

macro_rules! value_access {
    ($shape:ident, $slot:ty, set: $set:expr, list: $list:literal, iter: $iter:expr) => {
        impl<T: 'static, C: Codec<T>> ValueAccess for $shape<T, C> {
            fn parse(&self, slot: &mut dyn Any, text: &str, context: &ValueContext<'_>) -> Result<(), ValueError> {
                let value = C::parse(text, context)?;
                let set: fn(&mut $slot, T) = $set;
                set(get_mut(slot), value);
                Ok(())
            }
            fn count(&self, slot: &dyn Any) -> usize {
                let iter: fn(&$slot) -> &[T] = $iter;
                iter(get(slot)).len()
            }
            fn write(&self, slot: &dyn Any, index: usize, style: Style, out: &mut String) {
                let iter: fn(&$slot) -> &[T] = $iter;
                if let Some(value) = iter(get(slot)).get(index) {
                    C::write(value, style, out);
                }
            }
            fn scalar<'a>(&self, slot: &'a dyn Any, index: usize) -> Option<Scalar<'a>> {
                let iter: fn(&$slot) -> &[T] = $iter;
                iter(get(slot)).get(index).map(C::scalar)
            }
            fn kind(&self) -> ValueKind {
                C::KIND
            }
            fn unit(&self) -> Option<&'static str> {
                C::UNIT
            }
            fn unit_of(&self, slot: &dyn Any, index: usize) -> Option<&'static str> {
                let iter: fn(&$slot) -> &[T] = $iter;
                iter(get(slot)).get(index).and_then(C::unit)
            }
            fn is_list(&self) -> bool {
                $list
            }
        }
    };
}

value_access!(One, T, set: |slot, value| *slot = value, list: false, iter: |slot| std::slice::from_ref(slot));
value_access!(Maybe, Option<T>, set: |slot, value| *slot = Some(value), list: false, iter: |slot| slot.as_slice());
value_access!(Many, Vec<T>, set: |slot, value| slot.push(value), list: true, iter: |slot| slot.as_slice());

impl<T: Element> ElementAccess for One<T> {
    fn begin<'a>(&self, slot: &'a mut dyn Any) -> Option<&'a mut dyn Element> {
        Some(get_mut::<T>(slot))
    }
    fn count(&self, _: &dyn Any) -> usize {
        1
    }
    fn item<'a>(&self, slot: &'a dyn Any, index: usize) -> Option<&'a dyn Element> {
        (index == 0).then(|| get::<T>(slot) as &dyn Element)
    }
    fn table(&self) -> &'static Table {
        T::describe()
    }
    fn is_plain(&self) -> bool {
        true
    }
}

impl<T: Element + Default> ElementAccess for Maybe<T> {
    fn begin<'a>(&self, slot: &'a mut dyn Any) -> Option<&'a mut dyn Element> {
        let slot = get_mut::<Option<T>>(slot);
        if slot.is_some() { None } else { Some(slot.insert(T::default())) }
    }
    fn count(&self, slot: &dyn Any) -> usize {
        usize::from(get::<Option<T>>(slot).is_some())
    }
    fn item<'a>(&self, slot: &'a dyn Any, index: usize) -> Option<&'a dyn Element> {
        get::<Option<T>>(slot).as_ref().filter(|_| index == 0).map(|element| element as &dyn Element)
    }
    fn table(&self) -> &'static Table {
        T::describe()
    }
}

impl<T: Element + Default> ElementAccess for Boxed<T> {
    fn begin<'a>(&self, slot: &'a mut dyn Any) -> Option<&'a mut dyn Element> {
        let slot = get_mut::<Option<Box<T>>>(slot);
        if slot.is_some() { None } else { Some(&mut **slot.insert(Box::default())) }
    }
    fn count(&self, slot: &dyn Any) -> usize {
        usize::from(get::<Option<Box<T>>>(slot).is_some())
    }
    fn item<'a>(&self, slot: &'a dyn Any, index: usize) -> Option<&'a dyn Element> {
        get::<Option<Box<T>>>(slot).as_deref().filter(|_| index == 0).map(|element| element as &dyn Element)
    }
    fn table(&self) -> &'static Table {
        T::describe()
    }
}

impl<T: Element + Default> ElementAccess for Many<T> {
    fn begin<'a>(&self, slot: &'a mut dyn Any) -> Option<&'a mut dyn Element> {
        let list = get_mut::<Vec<T>>(slot);
        list.push(T::default());
        list.last_mut().map(|element| element as &mut dyn Element)
    }
    fn count(&self, slot: &dyn Any) -> usize {
        get::<Vec<T>>(slot).len()
    }
    fn item<'a>(&self, slot: &'a dyn Any, index: usize) -> Option<&'a dyn Element> {
        get::<Vec<T>>(slot).get(index).map(|element| element as &dyn Element)
    }
    fn table(&self) -> &'static Table {
        T::describe()
    }
    fn is_list(&self) -> bool {
        true
    }
}
