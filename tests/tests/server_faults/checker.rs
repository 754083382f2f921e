//! That what the other tests go by would tell them.

use sqlx::{AnyConnection, Connection as _};
use stocktake_tests::{load::Fleet, server::Server};

use super::UNLIMITED;

#[test]
fn what_is_amiss_is_found() {
    let server = Server::sqlite_with(UNLIMITED);
    let mut fleet = Fleet::new(&server, 6, 20, 8);
    fleet.report_once();
    fleet.report_once();
    fleet.check();
    assert!(fleet.found().is_nothing(), "{}", fleet.found().told());
    for (harm, is_missing) in [
        ("UPDATE agent SET runs = '[]' WHERE id = (SELECT min(id) FROM agent)", true),
        ("DELETE FROM event WHERE id = (SELECT max(id) - 1 FROM event)", false),
        ("UPDATE image_use SET containers = containers + 1 WHERE id = (SELECT min(id) FROM image_use)", false),
        ("DELETE FROM body", false),
        ("UPDATE container SET gone_at = 1 WHERE id = (SELECT max(id) FROM container WHERE gone_at IS NULL)", false),
    ] {
        let before = (fleet.found().missing, fleet.found().half_applied);
        fleet.wait_for(async {
            let mut database = AnyConnection::connect(&format!("sqlite://{}", server.database())).await.unwrap();
            assert!(sqlx::query(harm).execute(&mut database).await.unwrap().rows_affected() > 0, "{harm}");
        });
        fleet.check();
        let found = fleet.found();
        assert!(if is_missing { found.missing > before.0 } else { found.half_applied > before.1 }, "{harm}");
    }
}
