//! Opening links, and what people have for sharing theirs.

pub mod clicks;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::model::Inviter;
use super::model::qr::{self, Correction};
use super::model::share::{self, Text};
use super::store;
use crate::app::App;
use crate::features::accounts::actions::handles;
use crate::features::programs;
use crate::kernel::actor::Actor;
use crate::kernel::email::mask;
use crate::kernel::error::{Error, Result};
use crate::kernel::handle::{Handle, InvitationKey};
use crate::kernel::ids::UserId;
use crate::kernel::link::{Leads, LinkTarget};
use crate::kernel::program::Program;
use crate::web::views::language::Language;

/// Where a link leads, as this node may remember it: a look-up of the database at most. Nothing when nobody's is called
/// so.
pub async fn find(app: &App, key: InvitationKey) -> Result<Option<Arc<LinkTarget>>> {
    app.links
        .get(&URL_SAFE_NO_PAD.encode(key.bytes()), async {
            Ok(store::find(&app.db, key).await?.map(|(target, _)| target))
        })
        .await
}

/// Who invites with a code or handle that a person has brought, for the page that they register on.
pub async fn inviter(app: &App, typed: &str) -> Result<Inviter> {
    let Some(key) = InvitationKey::of(typed) else { return Ok(Inviter::Ended) };
    let Some((target, name)) = store::find(&app.db, key).await? else { return Ok(Inviter::Ended) };
    let invites = match target.leads {
        Leads::Code(_) => true,
        Leads::Renewal => programs::actions::current(app).await?.auto_renew,
        Leads::Ended | Leads::Gone => false,
    };
    Ok(match invites {
        false => Inviter::Ended,
        true if name.is_empty() => Inviter::Unnamed,
        // A name that is an address is shown like one.
        true => Inviter::Named(mask(&name)),
    })
}

/// The address of somebody's link.
pub fn link(app: &App, handle: &str) -> String {
    format!("{}/r/{handle}", app.public_url())
}

/// The address of its QR code.
pub fn qr_link(app: &App, handle: &str) -> String {
    format!("{}/r/{handle}/qr.svg", app.public_url())
}

/// All that somebody needs to share their link.
pub struct Share {
    pub handle: Handle,
    pub link: String,
    pub qr: String,
    pub texts: Vec<Text>,
}

/// A person's own link, with a handle that is drawn if they have none yet.
pub async fn share(app: &App, actor: Actor, user: UserId, language: Language) -> Result<Share> {
    let (handle, name) = handles::of(app, actor, user).await?;
    let program = programs::actions::current(app).await?;
    Ok(share_of(app, &program, handle, &name, language))
}

/// All that somebody with this handle needs to share their link; the name is empty where none is known.
pub fn share_of(app: &App, program: &Program, handle: Handle, name: &str, language: Language) -> Share {
    let (own, phrases) = match language {
        Language::English => (&program.share_texts.en, &share::ENGLISH),
        Language::Russian => (&program.share_texts.ru, &share::RUSSIAN),
    };
    let link = link(app, handle.as_str());
    let own = own.as_ref().map(|text| text.as_str());
    // A name that is an address is shown like one.
    let texts = share::texts(own, &mask(name), &link, phrases);
    Share { link, qr: qr_link(app, handle.as_str()), texts, handle }
}

/// A QR code of the link that was asked for; nothing when it leads to nobody.
pub async fn qr_code(app: &App, typed: &str, correction: Correction) -> Result<Option<String>> {
    // As it was asked for: a handle that was drawn leads on when another was chosen.
    let Some(handle) = Handle::typed(typed) else { return Ok(None) };
    let target = find(app, InvitationKey::Handle(handle.key())).await?;
    if target.is_none_or(|target| target.leads == Leads::Gone) {
        return Ok(None);
    }
    let image = qr::svg(&link(app, handle.as_str()), correction);
    image.map(Some).ok_or_else(|| Error::Internal("a link that is too long for a QR code".into()))
}
