//! Exit codes, after `sysexits.h`.

use crate::CollectError;

/// Why a program has printed no document, as its exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The document is printed, whatever it says of completeness.
    Success,
    /// [`CollectError::Unsupported`]: the runtime is of a kind or version that cannot be read (`EX_DATAERR`).
    Unsupported,
    /// [`CollectError::Unavailable`]: the runtime does not answer (`EX_UNAVAILABLE`).
    Unavailable,
    /// The program has a bug (`EX_SOFTWARE`).
    Software,
    /// [`CollectError::Protocol`]: the runtime's answer makes no sense (`EX_PROTOCOL`).
    Protocol,
    /// [`CollectError::Denied`]: the runtime refuses (`EX_NOPERM`).
    Denied,
    /// The settings are wrong (`EX_CONFIG`).
    Config,
}

impl Exit {
    const ALL: [Self; 7] = [
        Self::Success,
        Self::Unsupported,
        Self::Unavailable,
        Self::Software,
        Self::Protocol,
        Self::Denied,
        Self::Config,
    ];

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Unsupported => 65,
            Self::Unavailable => 69,
            Self::Software => 70,
            Self::Protocol => 76,
            Self::Denied => 77,
            Self::Config => 78,
        }
    }

    /// What a number means. `EX_TEMPFAIL` (75) is another word for "later". `None` for a number without a meaning here.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        match code {
            75 => Some(Self::Unavailable),
            code => Self::ALL.into_iter().find(|exit| i32::from(exit.code()) == code),
        }
    }
}

impl From<&CollectError> for Exit {
    fn from(error: &CollectError) -> Self {
        match error {
            CollectError::Unavailable { .. } => Self::Unavailable,
            CollectError::Denied { .. } => Self::Denied,
            CollectError::Unsupported { .. } => Self::Unsupported,
            CollectError::Protocol { .. } => Self::Protocol,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_sysexits_and_mean_one_thing_each() {
        assert_eq!(Exit::ALL.map(Exit::code), [0, 65, 69, 70, 76, 77, 78]);
        for exit in Exit::ALL {
            assert_eq!(Exit::from_code(exit.code().into()), Some(exit));
        }
        assert_eq!(Exit::from_code(75), Some(Exit::Unavailable));
        assert_eq!([1, 2, 127, -1].map(Exit::from_code), [None; 4]);
    }
}
