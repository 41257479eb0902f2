//! Clients that cannot prove a machine, inside the login of one that is proven: `ssh -W`, or `ssh -D`, with `bartizan-agent`.
//! It never lets one of them log in to the bastion by itself.

use bartizan_integration_tests::{Laptop, Rig};

use crate::{Cargo, curl, dropbear, libraries, putty};

#[test]
fn every_client_works_inside_the_login_of_a_proven_machine() {
    let rig = Rig::new().operator("ana").target("db1").setting("device", "evidence = \"bound\"");
    let rig = rig.setting("ssh", "profile = \"broad\"").start();
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]).running();
    let (ana, cargo) = (laptop.client(), Cargo::of(&rig));
    dropbear::runs_inside(&rig, &ana);
    putty::runs_inside(&rig, &ana);
    curl::works_inside(&rig, &ana, &cargo);
    libraries::work_inside(&rig, &ana, &cargo);
    assert_eq!(ana.prompts().len(), 1, "one code for all of them");
    let recordings = rig.sealed_recordings(13);
    assert!(recordings.iter().all(|one| one["device"] == "lt-ana"), "{recordings:#?}");
    rig.verify_everything();
}
