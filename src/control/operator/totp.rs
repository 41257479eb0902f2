//! `operator totp`: a one-time-code authenticator, made here and shown once.
//! It never keeps the seed in the clear, and nothing can show it again.

use keys::totp::Seed;
use policy::OperatorName;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use zeroize::Zeroizing;

use super::with_row;
use crate::bastion::Bastion;
use crate::control::attached::Attached;
use crate::control::reply::{Reply, Trouble};
use crate::store::OperatorState;

pub(super) async fn run<R: Reply>(
    bastion: &Bastion,
    name: &OperatorName,
    given: Option<&Attached>,
    out: &mut R,
) -> Result<(), Trouble> {
    if with_row(bastion, name).await?.state == OperatorState::Revoked {
        return Err(Trouble::said(format!(
            "operator {name} is revoked, which is final; make a new one under another name"
        )));
    }
    let seed = match given {
        Some(file) => Seed::from_base32(file.text()?)?,
        None => Seed::generate()?,
    };
    let sealed = bastion.keys.seal_seed(name.as_str(), &seed)?;
    bastion.store.set_totp(name.as_str(), &sealed, bastion.clock.unix_ms()).await?;
    let issuer = bastion.config.ssh.names.first().map_or("bartizan", String::as_str);
    let uri = seed.uri(issuer, name.as_str());
    out.out(&uri).await?;
    out.out("\n").await?;
    if out.shape().terminal {
        let picture =
            qr(&uri).ok_or_else(|| Trouble::said("the address is too long for a QR code; use the text"))?;
        out.out(&picture).await?;
        out.out("\nScan it with an authenticator app now: it is not shown again.\n").await?;
    }
    Ok(())
}

/// A QR code in half blocks, dark on light whatever the terminal's colours are.
pub(in crate::control) fn qr(text: &str) -> Option<Zeroizing<String>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let picture = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .quiet_zone(true)
        .build();
    Some(Zeroizing::new(picture))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_drawn_in_half_blocks_with_a_margin() {
        let picture = qr("otpauth://totp/bartizan:ana?secret=JBSWY3DPEHPK3PXP&issuer=bartizan").expect("qr");
        let lines: Vec<&str> = picture.lines().collect();
        assert!(lines.len() > 15 && lines.iter().all(|l| l.chars().count() == lines[0].chars().count()));
        assert!(picture.chars().all(|c| " █▀▄\n".contains(c)));
    }
}
