//! Graphics, video, sound, audio, input.

use polyvirt_xml::Element;

mod audio;
mod graphics;
mod input;
mod time;
mod video;

pub use audio::*;
pub use graphics::*;
pub use input::*;
pub use time::DateTime;
pub use video::*;

/// `<audio id='…'>` of a device.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct AudioRef {
    /// The backend's number.
    #[xml(attr)]
    pub id: u32,
}
