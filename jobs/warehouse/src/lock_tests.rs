//! Who may be at work in a warehouse.

use std::sync::Arc;

use url::Url;

use super::tests::{folder, noon, open};
use super::{Warehouse, WarehouseError, WarehouseLock};

#[tokio::test]
async fn one_run_holds_the_lock() {
    let folder = folder();
    let warehouse = open(&folder);
    let lock = WarehouseLock::acquire(&warehouse, "a", noon(1))
        .await
        .unwrap();
    let error = WarehouseLock::acquire(&open(&folder), "b", noon(2))
        .await
        .unwrap_err();
    let WarehouseError::LockHeld { holder } = &error else {
        panic!("{error:?}");
    };
    assert!(holder.contains(&format!("run a in process {} on ", std::process::id())));
    assert!(
        holder.ends_with("since 2026-11-02 12:00:00 UTC"),
        "{holder}"
    );
    drop(lock);
    // Also after a process that was killed and left its note behind.
    std::fs::write(folder.path().join("_runs/lock.json"), "half a no").unwrap();
    let lock = WarehouseLock::acquire(&warehouse, "b", noon(2))
        .await
        .unwrap();
    drop(lock);
    assert!(!folder.path().join("_runs/lock.json").exists());
}

/// Steps that write different files lock each other out neither on disk nor in a store; whole runs and steps do.
#[tokio::test(flavor = "multi_thread")]
async fn two_steps_go_side_by_side() {
    let folder = folder();
    let store = Arc::new(object_store::memory::InMemory::new());
    let remote = Warehouse::new(Url::parse("memory:///warehouse").unwrap(), store).unwrap();
    for warehouse in [open(&folder), remote] {
        let step = |name| WarehouseLock::acquire_for_step(&warehouse, "a", noon(1), name);
        let held = |result: Result<WarehouseLock, WarehouseError>| match result {
            Err(WarehouseError::LockHeld { holder }) => holder,
            other => panic!("{other:?}"),
        };
        let first = step("closest_connections").await.unwrap();
        let second = step("reputation_scores").await.unwrap();
        assert!(first.is_shared());
        assert!(held(step("closest_connections").await).contains("run a in process"));
        assert!(held(step("recommendations").await).contains("run a in process"));
        held(WarehouseLock::acquire(&warehouse, "b", noon(1)).await);
        drop(first);
        held(WarehouseLock::acquire(&warehouse, "b", noon(1)).await);
        drop(second);
        let whole = WarehouseLock::acquire(&warehouse, "b", noon(1))
            .await
            .unwrap();
        assert!(!whole.is_shared());
        assert!(held(step("reputation_scores").await).contains("run b in process"));
        drop(whole);
        step("recommendations").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_in_a_store_is_locked_too() {
    let store = Arc::new(object_store::memory::InMemory::new());
    let url = Url::parse("memory:///warehouse").unwrap();
    let warehouse = Warehouse::new(url, store).unwrap();
    let lock = WarehouseLock::acquire(&warehouse, "a", noon(1))
        .await
        .unwrap();
    let second = WarehouseLock::acquire(&warehouse, "b", noon(2)).await;
    assert!(matches!(second, Err(WarehouseError::LockHeld { .. })));
    lock.check().unwrap();
    drop(lock);
    WarehouseLock::acquire(&warehouse, "b", noon(2))
        .await
        .unwrap();
}
