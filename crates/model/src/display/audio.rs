//! `<sound>`, what the guest hears through, and `<audio>`, where it goes on the host.

use polyvirt_xml::{Element, words};

use super::AudioRef;
use crate::address::{DeviceInfo, VirtioDriver};

words! {
    /// Sound devices.
    pub enum SoundModel {
        Sb16 = "sb16", Es1370 = "es1370", Pcspk = "pcspk", Ac97 = "ac97", Ich6 = "ich6", Ich9 = "ich9",
        Usb = "usb", Ich7 = "ich7", Virtio = "virtio",
    }
}

/// `<sound>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Sound {
    /// The device.
    #[xml(attr)]
    pub model: Option<SoundModel>,
    /// Whether several channels are used.
    #[xml(attr, yesno)]
    pub multichannel: Option<bool>,
    /// virtio: streams.
    #[xml(attr)]
    pub streams: Option<u32>,
    /// What hangs off an HDA device. Since 0.9.13.
    #[xml(child)]
    pub codec: Vec<SoundCodec>,
    /// The audio backend. Since 6.7.0.
    #[xml(child)]
    pub audio: Option<AudioRef>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
    /// Options of virtio.
    #[xml(child)]
    pub driver: Option<VirtioDriver>,
}

words! {
    /// Codecs of HDA devices.
    pub enum SoundCodecType { Duplex = "duplex", Micro = "micro", Output = "output" }
}

/// `<codec>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct SoundCodec {
    /// Which one.
    #[xml(attr, name = "type")]
    pub kind: Option<SoundCodecType>,
}

words! {
    /// Where sound goes on the host.
    pub enum AudioType {
        None = "none", Alsa = "alsa", Coreaudio = "coreaudio", Jack = "jack", Oss = "oss",
        Pulseaudio = "pulseaudio", Sdl = "sdl", Spice = "spice", File = "file", Dbus = "dbus",
        Pipewire = "pipewire", Sndio = "sndio",
    }
}

words! {
    /// Drivers of SDL for sound.
    pub enum SdlDriver { Esd = "esd", Alsa = "alsa", Arts = "arts", Pulseaudio = "pulseaudio" }
}

/// `<audio>`: a backend.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Audio {
    /// Its number, from 1.
    #[xml(attr)]
    pub id: u32,
    /// Where sound goes.
    #[xml(attr, name = "type")]
    pub kind: Option<AudioType>,
    /// Microseconds between wake-ups.
    #[xml(attr)]
    pub timer_period: Option<u32>,
    /// Pulseaudio and Jack: the server.
    #[xml(attr)]
    pub server_name: Option<String>,
    /// Pipewire: the socket's directory.
    #[xml(attr)]
    pub runtime_dir: Option<String>,
    /// SDL: the driver.
    #[xml(attr)]
    pub driver: Option<SdlDriver>,
    /// The file.
    #[xml(attr)]
    pub path: Option<String>,
    /// sndio: the device.
    #[xml(attr)]
    pub dev: Option<String>,
    /// OSS: whether memory is mapped.
    #[xml(attr, name = "tryMMap", yesno)]
    pub try_mmap: Option<bool>,
    /// OSS: whether the device is exclusive.
    #[xml(attr, yesno)]
    pub exclusive: Option<bool>,
    /// OSS: the timing policy.
    #[xml(attr)]
    pub dsp_policy: Option<i32>,
    /// From the host.
    #[xml(child)]
    pub input: Option<AudioStream>,
    /// To the host.
    #[xml(child)]
    pub output: Option<AudioStream>,
}

/// `<input>` and `<output>` of `<audio>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct AudioStream {
    /// Whether the hypervisor mixes.
    #[xml(attr, yesno)]
    pub mixing_engine: Option<bool>,
    /// Whether the settings below hold.
    #[xml(attr, yesno)]
    pub fixed_settings: Option<bool>,
    /// Voices.
    #[xml(attr)]
    pub voices: Option<u32>,
    /// Microseconds of the buffer.
    #[xml(attr)]
    pub buffer_length: Option<u32>,
    /// The device.
    #[xml(attr)]
    pub dev: Option<String>,
    /// Buffers.
    #[xml(attr)]
    pub buffer_count: Option<u32>,
    /// OSS: whether polling is tried.
    #[xml(attr, yesno)]
    pub try_poll: Option<bool>,
    /// Pulseaudio: the name of the sink.
    #[xml(attr)]
    pub name: Option<String>,
    /// Pulseaudio: the stream.
    #[xml(attr)]
    pub stream_name: Option<String>,
    /// Pulseaudio: microseconds of latency.
    #[xml(attr)]
    pub latency: Option<u32>,
    /// Jack: the server.
    #[xml(attr)]
    pub server_name: Option<String>,
    /// Jack: our name.
    #[xml(attr)]
    pub client_name: Option<String>,
    /// Jack: ports to connect to.
    #[xml(attr)]
    pub connect_ports: Option<String>,
    /// Jack: whether the name must be exact.
    #[xml(attr, yesno)]
    pub exact_name: Option<bool>,
    /// The settings.
    #[xml(child)]
    pub settings: Option<AudioSettings>,
}

/// `<settings>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct AudioSettings {
    /// Hz.
    #[xml(attr)]
    pub frequency: Option<u32>,
    /// Channels.
    #[xml(attr)]
    pub channels: Option<u32>,
    /// The format of a sample.
    #[xml(attr)]
    pub format: Option<AudioFormat>,
}

words! {
    /// Formats of samples.
    pub enum AudioFormat { S8 = "s8", U8 = "u8", S16 = "s16", U16 = "u16", S32 = "s32", U32 = "u32", F32 = "f32" }
}
