/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting old samples, a few rows at a time, on the writer connection. Freed pages are used again;
 * the file does not shrink by itself (VACUUM with the store closed makes it). */
#include "sqlite_store.h"

enum { STEP_ROWS = 2000, STEP_SERIES = 500 };

typedef struct sweep {
    sql_store *store;
    int64_t cutoff_ms;
    int64_t rows_left;
    int64_t deleted;
    int64_t series_deleted;
    bool through;
} sweep;

static sqlite3_stmt *with_series(sweep *w, int which, int64_t series)
{
    sqlite3_stmt *stmt = pra__sql_stmt(&w->store->writer, which);
    if (stmt)
        sqlite3_bind_int64(stmt, 1, series);
    return stmt;
}

/* Deletes what is too old, at most rows_left. Sets *more if some of it is left. */
static int delete_samples(sweep *w, int64_t series, bool *more)
{
    int64_t below = w->cutoff_ms;
    sqlite3_stmt *old = with_series(w, SQL_OLD_SAMPLE, series);
    if (!old)
        return SQLITE_ERROR;
    sqlite3_bind_int64(old, 2, w->cutoff_ms);
    sqlite3_bind_int64(old, 3, w->rows_left);
    int rc = pra__sql_once(old, &below);
    *more = rc == SQLITE_ROW;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return rc;
    sqlite3_stmt *delete = with_series(w, SQL_SAMPLES_DELETE, series);
    if (!delete)
        return SQLITE_ERROR;
    sqlite3_bind_int64(delete, 2, below);
    rc = pra__sql_once(delete, NULL);
    if (rc != SQLITE_DONE)
        return rc;
    w->rows_left -= sqlite3_changes(w->store->writer.db);
    w->deleted += sqlite3_changes(w->store->writer.db);
    return SQLITE_OK;
}

static int delete_labels(sweep *w, int64_t tenant, int64_t series)
{
    const sql_labels *labels = &w->store->writer.labels;
    for (size_t i = 0; i < labels->count; i++) {
        sqlite3_stmt *stmt = pra__sql_stmt(&w->store->writer, SQL_LABEL_DELETE);
        if (!stmt)
            return SQLITE_ERROR;
        sqlite3_bind_int64(stmt, 1, tenant);
        pra__sql_bind_str(stmt, 2, labels->labels[i].name);
        pra__sql_bind_str(stmt, 3, labels->labels[i].value);
        sqlite3_bind_int64(stmt, 4, series);
        int rc = pra__sql_once(stmt, NULL);
        if (rc != SQLITE_DONE)
            return rc;
    }
    return SQLITE_OK;
}

/* Deletes a series that has no samples. row is the SQL_NEXT_SERIES statement standing on it. */
static int delete_series(sweep *w, sqlite3_stmt *row, int64_t series)
{
    sql_store *store = w->store;
    sqlite3_stmt *any = with_series(w, SQL_ANY_SAMPLE, series);
    int rc = any ? pra__sql_once(any, NULL) : SQLITE_ERROR;
    if (rc != SQLITE_DONE)
        return rc == SQLITE_ROW ? SQLITE_OK : rc;
    int64_t tenant = sqlite3_column_int64(row, 1);
    uint64_t fingerprint = (uint64_t)sqlite3_column_int64(row, 2);
    pra_str text = pra__sql_column_str(row, 3);
    int code = pra__sql_labels_parse(&store->alloc, text, &store->writer.labels);
    if (code != PRA_OK)
        return code == PRA_ERR_NOMEM ? SQLITE_NOMEM : SQLITE_CORRUPT;
    rc = delete_labels(w, tenant, series);
    sqlite3_stmt *delete = rc == SQLITE_OK ? with_series(w, SQL_SERIES_DELETE, series) : NULL;
    if (!delete)
        return rc == SQLITE_OK ? SQLITE_ERROR : rc;
    rc = pra__sql_once(delete, NULL);
    pra__sql_cache_remove(&store->cache, tenant, fingerprint, text);
    w->series_deleted++;
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Moves on to the next series and does it, or a part of it. */
static int sweep_series(sweep *w)
{
    sqlite3_stmt *row = with_series(w, SQL_NEXT_SERIES, w->store->sweep_id);
    if (!row)
        return SQLITE_ERROR;
    int rc = sqlite3_step(row);
    if (rc != SQLITE_ROW) {
        w->through = rc == SQLITE_DONE;
        sqlite3_reset(row);
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
    }
    int64_t series = sqlite3_column_int64(row, 0), before = w->deleted;
    bool more = false;
    rc = delete_samples(w, series, &more);
    if (rc == SQLITE_OK && !more && w->deleted > before)
        rc = delete_series(w, row, series);
    sqlite3_reset(row);
    if (rc == SQLITE_OK && !more)
        w->store->sweep_id = series;
    return rc;
}

static int sweep_step(sweep *w)
{
    sql_store *store = w->store;
    int64_t sweep_id = store->sweep_id;
    int rc = pra__sql_begin(&store->writer, SQL_BEGIN_WRITE);
    for (int i = 0; rc == SQLITE_OK && !w->through && w->rows_left > 0 && i < STEP_SERIES; i++)
        rc = sweep_series(w);
    if (rc == SQLITE_OK)
        rc = pra__sql_run(&store->writer, SQL_COMMIT);
    if (rc != SQLITE_OK) {
        pra__store_log(&store->opts, 2, "%s: deleting old samples failed, will try again: %s",
                       store->path, sqlite3_errmsg(store->writer.db));
        pra__sql_writer_rollback(store);
        store->sweep_id = sweep_id;
        return PRA_ERR_IO;
    }
    if (w->through)
        store->sweep_id = 0;
    return PRA_OK;
}

int pra__sql_retention_step(sql_store *store, int64_t cutoff_ms, int64_t max_rows)
{
    sweep w = {.store = store, .cutoff_ms = cutoff_ms, .rows_left = max_rows};
    pra__sql_writer_take(store);
    int code = sweep_step(&w);
    pra__sql_writer_release(store);
    if (code != PRA_OK)
        return code;
    atomic_fetch_add(&store->stats.expired, (uint64_t)w.deleted);
    atomic_fetch_sub(&store->stats.series, w.series_deleted);
    return w.through;
}

uint64_t pra__sql_retention_tick(void *self)
{
    enum { FAILED_PAUSE_MS = 10000, MIN_PAUSE_MS = 2 };
    sql_store *store = self;
    uint64_t retention = store->opts.retention_ms;
    int64_t now = pra__store_now_ms();
    if (retention > (uint64_t)now)
        return pra__retention_interval_ms(retention);
    uint64_t begun = pra__store_ticks();
    int through = pra__sql_retention_step(store, now - (int64_t)retention, STEP_ROWS);
    if (through < 0)
        return FAILED_PAUSE_MS;
    if (through)
        return pra__retention_interval_ms(retention);
    /* Leave the writer four fifths of the time to those who write. */
    return MIN_PAUSE_MS + (pra__store_ticks() - begun) * 4 / 1000000;
}
