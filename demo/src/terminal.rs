//! A pseudo-terminal as the client asked for it: its size, its name and its modes (RFC 4254 section 8).
//! It never starts a program: `program` does.

use std::os::fd::AsFd as _;

use pty_process::Pts;
use russh::Pty;
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex as Code, Termios,
    Winsize,
};

use crate::inbox::Size;
use crate::program::Ends;

/// The longest terminal name taken over; longer ones are not names.
const MAX_TERM: usize = 64;

/// A wanted terminal.
pub(crate) struct Terminal {
    term: String,
    size: Size,
    modes: Vec<(Pty, u32)>,
}

impl Terminal {
    pub(crate) fn wanted(term: &str, size: Size, modes: &[(Pty, u32)]) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
        let term =
            if !term.is_empty() && term.len() <= MAX_TERM && term.chars().all(plain) { term } else { "dumb" };
        Self { term: term.to_owned(), size, modes: modes.to_vec() }
    }

    /// The value for `TERM`.
    pub(crate) fn term(&self) -> &str {
        &self.term
    }

    /// Opens it, sized and with its modes set.
    pub(crate) fn open(&self) -> Result<(Ends, Pts), pty_process::Error> {
        let (pty, pts) = pty_process::open()?;
        let size = pty.as_fd().try_clone_to_owned()?;
        rustix::termios::tcsetwinsize(&size, winsize(self.size))?;
        let mut termios = rustix::termios::tcgetattr(&pts)?;
        for (mode, value) in &self.modes {
            apply(&mut termios, *mode, *value);
        }
        rustix::termios::tcsetattr(&pts, OptionalActions::Now, &termios)?;
        let (read, write) = pty.into_split();
        Ok((Ends::Terminal { read, write, size }, pts))
    }
}

/// The size as the kernel takes it; larger numbers are cut to what it can hold.
pub(crate) fn winsize(size: Size) -> Winsize {
    let cut = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    Winsize {
        ws_row: cut(size.rows),
        ws_col: cut(size.columns),
        ws_xpixel: cut(size.width),
        ws_ypixel: cut(size.height),
    }
}

fn apply(termios: &mut Termios, mode: Pty, value: u32) {
    if let Some(code) = special(mode) {
        // 255 means that the character is not in use (RFC 4254 section 8).
        let byte = u8::try_from(value).unwrap_or(0);
        termios.special_codes[code] = if byte == u8::MAX { 0 } else { byte };
    } else if let Some(flag) = input(mode) {
        termios.input_modes.set(flag, value != 0);
    } else if let Some(flag) = local(mode) {
        termios.local_modes.set(flag, value != 0);
    } else if let Some(flag) = output(mode) {
        termios.output_modes.set(flag, value != 0);
    } else if let Some(flag) = control(mode) {
        termios.control_modes.set(flag, value != 0);
    }
}

fn special(mode: Pty) -> Option<Code> {
    Some(match mode {
        Pty::VINTR => Code::VINTR,
        Pty::VQUIT => Code::VQUIT,
        Pty::VERASE => Code::VERASE,
        Pty::VKILL => Code::VKILL,
        Pty::VEOF => Code::VEOF,
        Pty::VEOL => Code::VEOL,
        Pty::VEOL2 => Code::VEOL2,
        Pty::VSTART => Code::VSTART,
        Pty::VSTOP => Code::VSTOP,
        Pty::VSUSP => Code::VSUSP,
        Pty::VREPRINT => Code::VREPRINT,
        Pty::VWERASE => Code::VWERASE,
        Pty::VLNEXT => Code::VLNEXT,
        Pty::VDISCARD => Code::VDISCARD,
        _ => return None,
    })
}

fn input(mode: Pty) -> Option<InputModes> {
    Some(match mode {
        Pty::IGNPAR => InputModes::IGNPAR,
        Pty::PARMRK => InputModes::PARMRK,
        Pty::INPCK => InputModes::INPCK,
        Pty::ISTRIP => InputModes::ISTRIP,
        Pty::INLCR => InputModes::INLCR,
        Pty::IGNCR => InputModes::IGNCR,
        Pty::ICRNL => InputModes::ICRNL,
        Pty::IXON => InputModes::IXON,
        Pty::IXANY => InputModes::IXANY,
        Pty::IXOFF => InputModes::IXOFF,
        Pty::IMAXBEL => InputModes::IMAXBEL,
        Pty::IUTF8 => InputModes::IUTF8,
        _ => return None,
    })
}

fn local(mode: Pty) -> Option<LocalModes> {
    Some(match mode {
        Pty::ISIG => LocalModes::ISIG,
        Pty::ICANON => LocalModes::ICANON,
        Pty::ECHO => LocalModes::ECHO,
        Pty::ECHOE => LocalModes::ECHOE,
        Pty::ECHOK => LocalModes::ECHOK,
        Pty::ECHONL => LocalModes::ECHONL,
        Pty::NOFLSH => LocalModes::NOFLSH,
        Pty::TOSTOP => LocalModes::TOSTOP,
        Pty::IEXTEN => LocalModes::IEXTEN,
        Pty::ECHOCTL => LocalModes::ECHOCTL,
        Pty::ECHOKE => LocalModes::ECHOKE,
        _ => return None,
    })
}

fn output(mode: Pty) -> Option<OutputModes> {
    Some(match mode {
        Pty::OPOST => OutputModes::OPOST,
        Pty::ONLCR => OutputModes::ONLCR,
        Pty::OCRNL => OutputModes::OCRNL,
        Pty::ONOCR => OutputModes::ONOCR,
        Pty::ONLRET => OutputModes::ONLRET,
        _ => return None,
    })
}

fn control(mode: Pty) -> Option<ControlModes> {
    Some(match mode {
        Pty::PARENB => ControlModes::PARENB,
        Pty::PARODD => ControlModes::PARODD,
        _ => return None,
    })
}
