//! Settings: flags over environment over `.env` over `docent.toml` over defaults.
//!
//! Every setting has one name: `DATABASE_URL` in the environment is `database_url` in the file. All
//! mistakes are collected and reported at once, in words.

mod exports;
mod layers;
mod models;
mod settings;

pub use exports::{
    ExportSettings, LagoSettings, OpenMeterSettings, StripeSettings, WebhookSettings,
};
pub use layers::{Layers, Problems};
pub use models::{Endpoint, ModelSettings, ModerationSettings};
pub use settings::{
    ChatSettings, ClusterSettings, DatabaseSettings, LogFormat, LoginSettings, MailSettings, NAMES,
    ServerSettings, Settings,
};
