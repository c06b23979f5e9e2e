//! Looking at a guest, and poking it: its screens, and the button that nobody can mask.

use async_trait::async_trait;

use crate::Result;

/// How a picture is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ImageFormat {
    /// PNG.
    Png,
    /// Portable pixmap, binary.
    Ppm,
}

impl ImageFormat {
    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Ppm => "image/x-portable-pixmap",
        }
    }

    /// What names of such files end with.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Ppm => "ppm",
        }
    }
}

/// A picture of a screen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Screenshot {
    /// How it is encoded.
    pub format: ImageFormat,
    /// The picture.
    pub bytes: Vec<u8>,
}

impl Screenshot {
    /// A picture.
    #[must_use]
    pub fn new(format: ImageFormat, bytes: Vec<u8>) -> Self {
        Self { format, bytes }
    }
}

/// The guest's screens.
#[async_trait]
pub trait Screen: Send + Sync {
    /// Takes a picture of one. Screens are the heads of the video cards in the definition's order, from 0.
    ///
    /// *Behaviour*: changes nothing, works while the guest is paused. No such screen is `NotFound`.
    async fn shot(&self, screen: u32) -> Result<Screenshot>;
}

/// The interrupt that nobody can mask.
#[async_trait]
pub trait Nmi: Send + Sync {
    /// Sends it to all vCPUs; returns when it was sent.
    async fn inject(&self) -> Result<()>;
}
