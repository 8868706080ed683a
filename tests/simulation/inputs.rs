//! The rows of `tests/support/inputs.rs` on both kinds of stream.

use line_chat::Config;

use crate::scene::{INTERACTIVE, PLAIN, Scene, on_both};

#[path = "../support/inputs.rs"]
mod rows;

#[test]
fn every_input_comes_to_what_its_row_says() {
    on_both(|is_veiled| {
        for (number, row) in rows::ROWS.iter().enumerate() {
            println!("row {number}: {} {}", row.name, row.varies);
            let mut config = Config::default();
            config.interactive.enabled = true;
            let mut scene = Scene::new(config, is_veiled);
            let watcher = scene.join_reading("w");
            let person = row.people.map(|_| {
                let person = scene.connect(INTERACTIVE, 1000);
                scene.peer(person).read_greedily();
                scene.say(person, b"person");
                scene.settle();
                scene.read_all();
                person
            });
            let service = if row.is_at_prompt { INTERACTIVE } else { PLAIN };
            let client = scene.connect(service, 1000);
            scene.peer(client).read_greedily();
            scene.read_all();
            if row.has_joined {
                scene.say(client, b"x");
                scene.settle();
                scene.read_all();
            }
            scene.got(client);
            scene.got(watcher);
            person.map(|person| scene.got(person));
            for piece in row.sends {
                scene.send(client, piece);
                scene.settle();
                scene.read_all();
            }
            assert_eq!(scene.got(watcher), row.others);
            let seen = person.map(|person| scene.got(person));
            assert_eq!(seen.as_deref(), row.people);
            assert_eq!(scene.got(client), String::from_utf8_lossy(row.sees));
            assert_eq!(scene.left(client).is_some(), row.is_closed);
        }
    });
}
