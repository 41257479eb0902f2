//! The transport as an attacker on the path or a hostile client sees it: what is offered, what may come before a login, what
//! may be meddled with between two ends. It never looks inside the bastion.

mod before_login;
mod between;
mod channels;
mod offered;
mod requests;
mod terrapin;
