//! Who gets in, how, and what they see.

use super::*;

#[test]
fn passwords_are_asked_for_and_checked() {
    let service = Service::start(&[]);
    assert_eq!(service.rows("ana", "SELECT current_user"), ["ana"]);
    assert_eq!(service.rows("rob", "SELECT session_user"), ["rob"]);
    for (user, password) in [
        ("ana", "wrong"),
        ("nobody", "analysts' secret"),
        ("ana", ""),
    ] {
        let mut command = service.psql(user);
        command
            .env("PGPASSWORD", password)
            .args(["--command", "SELECT 1"]);
        let outcome = Outcome::of(&mut command);
        assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
        let refused = outcome.stderr.contains("password authentication failed")
            || outcome.stderr.contains("no password supplied");
        assert!(refused, "{}", outcome.stderr);
    }
    let users = service.path("users.toml");
    let text = std::fs::read_to_string(&users).unwrap();
    assert!(
        !text.contains("secret") && text.contains("SCRAM-SHA-256$4096:"),
        "{text}"
    );

    // Users come and go while it runs.
    add_user(&users, "eve", "analyst", "another secret");
    let mut eve = service.psql("eve");
    eve.env("PGPASSWORD", "another secret")
        .args(["--command", "SELECT 1"]);
    Outcome::of(&mut eve).exits(0);
    let mut remove = program();
    remove
        .args(["user", "remove", "eve", "--users"])
        .arg(&users);
    Outcome::of(&mut remove).exits(0);
    Outcome::of(&mut eve).exits(2);
}

#[test]
fn roles_say_which_schemas_are_seen() {
    let service = Service::start(&[]);
    let (code, message) = service.refused("ana", "SELECT body FROM raw.messages");
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("42501", "permission denied for schema raw")
    );
    let inside =
        "SELECT count(*) FROM recommendations WHERE user_id IN (SELECT user_id FROM raw.users)";
    assert_eq!(service.refused("ana", inside).0, "42501");
    let seen = "SELECT DISTINCT table_schema FROM information_schema.tables ORDER BY 1";
    assert_eq!(
        service.rows("ana", seen),
        ["graph_recs", "graph_recs_history", "ops"]
    );
    assert_eq!(
        service.rows("rob", seen),
        ["graph_recs", "graph_recs_history", "ops", "raw"]
    );
    let messages: u64 = service.rows("rob", "SELECT count(*) FROM raw.messages")[0]
        .parse()
        .unwrap();
    assert!(messages > 0);
    let unreadable = service.rows("rob", "SELECT source, reason FROM raw.quarantine LIMIT 1");
    assert!(unreadable.len() <= 1);
}

#[test]
fn nobody_from_outside_comes_in_without_a_password() {
    let place = Place::golden();
    let mut command = program();
    command
        .args(["serve", "--listen", "0.0.0.0:0", "--input"])
        .arg(place.input());
    Outcome::of(&mut command)
        .exits(1)
        .says(&["0.0.0.0:0", "--users"]);
    let users = place.path("users.toml");
    add_user(&users, "ana", "analyst", "analysts' secret");
    let mut command = program();
    command
        .args(["serve", "--flight-listen", "0.0.0.0:0", "--input"])
        .arg(place.input())
        .arg("--users")
        .arg(&users);
    Outcome::of(&mut command).exits(1).says(&["--tls-cert"]);
}

#[test]
fn connections_are_by_tls_where_there_is_a_certificate() {
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tls");
    let file = |name: &str| tls.join(name).display().to_string();
    let (certificate, key) = (file("process.pem"), file("process.key"));
    let service = Service::start(&["--tls-cert", &certificate, "--tls-key", &key]);
    let ask = |mode: &str, authority: &str| {
        let mut command = service.psql("ana");
        command
            .env("PGSSLMODE", mode)
            .env("PGSSLROOTCERT", file(authority))
            .args([
                "--tuples-only",
                "--command",
                "SELECT 1",
                "--command",
                "\\conninfo",
            ]);
        Outcome::of(&mut command)
    };
    let outcome = ask("verify-ca", "authority.pem").exits(0);
    assert!(
        outcome.stdout.contains("SSL connection"),
        "{}",
        outcome.stdout
    );
    ask("verify-ca", "stranger.pem").exits(2);
}
