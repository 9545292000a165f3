//! What tools ask when they connect: each file of `startup/` has a tool's questions, ended by semicolons.

use super::*;

#[track_caller]
fn answered(service: &Service, tool: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/analysts/startup");
    let text = std::fs::read_to_string(folder.join(tool).with_extension("sql")).unwrap();
    let mut count = 0;
    for statement in text.split(";\n").filter(|part| !part.trim().is_empty()) {
        let outcome = service.ask("ana", statement);
        assert_eq!(
            outcome.code,
            Some(0),
            "{tool}: {statement}\n{}",
            outcome.stderr
        );
        count += 1;
    }
    assert!(count >= 4, "{tool}");
}

#[test]
fn questions_of_tools_are_answered() {
    let service = Service::start(&[]);
    for tool in [
        "dbeaver", "jdbc", "metabase", "grafana", "superset", "npgsql", "odbc",
    ] {
        answered(&service, tool);
    }
}
