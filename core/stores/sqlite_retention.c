/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting what is too old, a few rows at a time, on the writer connection. Freed pages are used
 * again; the file does not shrink by itself (VACUUM with the store closed makes it). */
#include "sqlite_store.h"

enum { STEP_ROWS = 2000, STEP_SERIES = 500 };

typedef struct sweep {
    sql_store *store;
    pra__cutoffs cutoffs;
    int64_t rows_left;
    int64_t deleted[SQL_KINDS];
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

/* Deletes of one kind what is too old, at most rows_left. Sets *more if some of it is left. */
static int delete_kind(sweep *w, int32_t kind, int64_t series, bool *more)
{
    static const int olds[] = {SQL_OLD_SAMPLE, SQL_OLD_HISTOGRAM, SQL_OLD_EXEMPLAR};
    static const int deletes[] = {SQL_SAMPLES_DELETE, SQL_HISTOGRAMS_DELETE, SQL_EXEMPLARS_DELETE};
    bool exemplars = kind == PRA_DATUM_EXEMPLAR;
    int64_t cutoff = exemplars ? w->cutoffs.exemplars_ms : w->cutoffs.data_ms, below = cutoff;
    if (cutoff == INT64_MIN)
        return SQLITE_OK;
    sqlite3_stmt *old = with_series(w, olds[kind], series);
    if (!old)
        return SQLITE_ERROR;
    sqlite3_bind_int64(old, 2, cutoff);
    sqlite3_bind_int64(old, 3, w->rows_left);
    int rc = pra__sql_once(old, &below);
    *more = rc == SQLITE_ROW;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return rc;
    bool some = exemplars && *more;
    sqlite3_stmt *delete = with_series(w, some ? SQL_EXEMPLARS_DELETE_SOME : deletes[kind], series);
    if (!delete)
        return SQLITE_ERROR;
    sqlite3_bind_int64(delete, 2, exemplars ? cutoff : below);
    if (some)
        sqlite3_bind_int64(delete, 3, w->rows_left);
    rc = pra__sql_once(delete, NULL);
    if (rc != SQLITE_DONE)
        return rc;
    w->rows_left -= sqlite3_changes(w->store->writer.db);
    w->deleted[kind] += sqlite3_changes(w->store->writer.db);
    return SQLITE_OK;
}

static int delete_data(sweep *w, int64_t series, bool *more)
{
    int rc = SQLITE_OK;
    for (int32_t kind = 0; rc == SQLITE_OK && !*more && kind < SQL_KINDS; kind++)
        rc = delete_kind(w, kind, series, more);
    return rc;
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

/* Deletes a series that has no data. row is the statement standing on it. */
static int delete_series(sweep *w, sqlite3_stmt *row, int64_t series)
{
    sql_store *store = w->store;
    sqlite3_stmt *any = with_series(w, SQL_ANY_DATA, series);
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
    bool all = w->cutoffs.data_ms != INT64_MIN;
    sqlite3_stmt *row =
        with_series(w, all ? SQL_NEXT_SERIES : SQL_NEXT_EXEMPLARS, w->store->sweep_id);
    if (!row)
        return SQLITE_ERROR;
    int rc = sqlite3_step(row);
    if (rc != SQLITE_ROW) {
        w->through = rc == SQLITE_DONE;
        sqlite3_reset(row);
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
    }
    int64_t series = sqlite3_column_int64(row, 0), before = w->rows_left;
    bool more = false;
    rc = delete_data(w, series, &more);
    if (rc == SQLITE_OK && !more && w->rows_left < before)
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
        pra__store_log(&store->opts, 2, "%s: deleting old data failed, will try again: %s",
                       store->path, pra__sql_message(&store->writer, rc));
        pra__sql_writer_rollback(store);
        store->sweep_id = sweep_id;
        return PRA_ERR_IO;
    }
    if (w->through)
        store->sweep_id = 0;
    return PRA_OK;
}

int pra__sql_retention_step(sql_store *store, pra__cutoffs cutoffs, int64_t max_rows)
{
    sweep w = {.store = store, .cutoffs = cutoffs, .rows_left = max_rows};
    pra__sql_writer_take(store);
    int code = sweep_step(&w);
    pra__sql_writer_release(store);
    if (code != PRA_OK)
        return code;
    for (int kind = 0; kind < SQL_KINDS; kind++)
        atomic_fetch_add(&store->stats.expired[kind], (uint64_t)w.deleted[kind]);
    atomic_fetch_sub(&store->stats.exemplars, w.deleted[PRA_DATUM_EXEMPLAR]);
    atomic_fetch_sub(&store->stats.series, w.series_deleted);
    return w.through;
}

uint64_t pra__sql_retention_tick(void *self)
{
    enum { FAILED_PAUSE_MS = 10000, MIN_PAUSE_MS = 2 };
    sql_store *store = self;
    uint64_t begun = pra__store_ticks();
    pra__cutoffs cutoffs = pra__store_cutoffs(&store->opts, pra__store_now_ms());
    int through = pra__sql_retention_step(store, cutoffs, STEP_ROWS);
    if (through < 0)
        return FAILED_PAUSE_MS;
    if (through)
        return pra__retention_interval_ms(&store->opts);
    /* Leave the writer four fifths of the time to those who write. */
    return MIN_PAUSE_MS + (pra__store_ticks() - begun) * 4 / 1000000;
}
