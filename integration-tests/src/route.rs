//! The two ways of a stock client to a target, and tests that hold for both.
//! It never knows how a client is started.

/// How a client says which target it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `ssh operator+account+target@bastion`
    Direct,
    /// `ssh -J operator@bastion account@target`
    Jump,
}

impl Route {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Direct, Self::Jump];
}

/// Makes two tests, `direct` and `jump`, of every function named: each takes the [`Route`].
#[macro_export]
macro_rules! by_both_routes {
    ($($(#[$attribute:meta])* $name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            $(#[$attribute])*
            fn direct() {
                super::$name($crate::Route::Direct);
            }

            #[test]
            $(#[$attribute])*
            fn jump() {
                super::$name($crate::Route::Jump);
            }
        }
    )+};
}
